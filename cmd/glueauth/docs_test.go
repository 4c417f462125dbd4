package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestDocumentsLeadToFilesThatExist(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#]+)`)
	for _, document := range []string{"README.md", "docs/gateways.md", "docs/operating.md", "docs/reading.md", "docs/switch-over.md"} {
		path := filepath.Join("..", "..", document)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		links := link.FindAllStringSubmatch(string(text), -1)
		if len(links) == 0 {
			t.Errorf("%s has no link", document)
		}
		for _, found := range links {
			if strings.Contains(found[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), found[1])); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}

func TestOneRequestIsReadInEightFiles(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/reading.md")
	if err != nil {
		t.Fatal(err)
	}
	if steps := regexp.MustCompile(`(?m)^\d+\. \[`).FindAllString(string(text), -1); len(steps) == 0 || len(steps) > 8 {
		t.Errorf("%d files, want at most 8", len(steps))
	}
}
