package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const builtIn = "built-in"

// value is what a layer gives for a setting: text, but for what YAML makes of it.
type value struct {
	raw    any
	source string // for people
	shop   bool   // given by a variable of the shop's
}

// layers reads file, environment and flags, and returns for each setting that is given the value of the last of them.
func layers(table []setting, flags *pflag.FlagSet, environ []string) (map[string]value, error) {
	fromFlags, err := flagLayer(table, flags)
	if err != nil {
		return nil, err
	}
	fromEnv, err := envLayer(table, environ)
	if err != nil {
		return nil, err
	}
	given := map[string]value{}
	path, ok := fromFlags[configKey]
	if !ok {
		path = fromEnv[configKey]
	}
	if name, _ := path.raw.(string); name != "" {
		if given, err = fileLayer(table, name); err != nil {
			return nil, err
		}
	}
	maps.Copy(given, fromEnv)
	maps.Copy(given, fromFlags)
	return given, nil
}

func flagLayer(table []setting, flags *pflag.FlagSet) (map[string]value, error) {
	if flags == nil {
		return nil, nil
	}
	keys := map[string]string{}
	for _, s := range table {
		if s.flag != "" {
			keys[s.flag] = s.key
		}
	}
	// Without a koanf instance the provider passes on the flags that were set, whatever they were set to.
	provider := posflag.ProviderWithFlag(flags, ".", nil, func(f *pflag.Flag) (string, any) {
		return keys[f.Name], posflag.FlagVal(flags, f)
	})
	layer := koanf.New(".")
	if err := layer.Load(provider, nil); err != nil {
		return nil, fmt.Errorf("flags: %w", err)
	}
	given := map[string]value{}
	for _, s := range table {
		if s.flag != "" && layer.Exists(s.key) {
			given[s.key] = value{raw: layer.Get(s.key), source: "flag --" + s.flag}
		}
	}
	return given, nil
}

func envLayer(table []setting, environ []string) (map[string]value, error) {
	var names []string
	keys := map[string]string{}
	for _, s := range table {
		if name := s.variable(); name != "" {
			names = append(names, name)
			keys[name] = s.key
		}
	}
	var unknown []string
	layer := koanf.New(".")
	err := layer.Load(env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			if keys[name] == "" && !serviceLink(name, text) {
				unknown = append(unknown, name)
			}
			return keys[name], text
		},
	}), nil)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if len(unknown) > 0 {
		return nil, unknownVariable(slices.Min(unknown), names)
	}
	given := map[string]value{}
	for _, s := range table {
		if name := s.variable(); name != "" && layer.Exists(s.key) {
			given[s.key] = value{raw: layer.Get(s.key), source: "environment " + name}
		}
	}
	return given, nil
}

func unknownVariable(name string, names []string) error {
	if name == envPrefix+strings.ToUpper(clientsKey) {
		return fmt.Errorf("%s: clients cannot stand in the environment: list them under clients in the file of --config", name)
	}
	return fmt.Errorf("unknown environment variable %s: did you mean %s?", plain(name), nearest(name, names))
}

// serviceLink reports whether a variable is one that Kubernetes sets in every pod beside a service whose name starts with
// glueauth; refusing it would keep the server from starting there.
func serviceLink(name, text string) bool {
	return regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`).MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://")
}

func fileLayer(table []setting, path string) (map[string]value, error) {
	source := "file " + plain(path)
	layer := koanf.New(".")
	err := layer.Load(file.Provider(path), oneDocument{yaml.Parser()})
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("configuration %s cannot be read: %w; correct the path given by --config or GLUEAUTH_CONFIG", source, p.Err)
	}
	if errors.Is(err, errDocuments) {
		return nil, fmt.Errorf("%s %w: keep one, with no line --- after its beginning", source, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read as YAML settings%s: look there for a tab, a key that stands twice, an open quote or bracket; settings are lines like \"listen: :8080\"", source, line(err))
	}
	keys, sections := fileNames(table)
	given := map[string]value{}
	parts, all := layer.KeyMap(), layer.All()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if err := notUnder(keys, key, source); err != nil {
			return nil, err
		}
		if err := undotted(parts[key]); err != nil {
			return nil, fmt.Errorf("%s in %s %w", plain(key), source, err)
		}
		switch section := slices.Contains(sections, key); {
		case slices.Contains(keys, key):
			given[key] = value{raw: all[key], source: source}
		case section && empty(all[key]):
			// Its lines are all commented out.
		case section:
			return nil, fmt.Errorf("%s in %s is a section: write its settings indented under it", key, source)
		default:
			return nil, fmt.Errorf("unknown setting %s in %s: did you mean %s?", plain(key), source, nearest(key, append(keys, sections...)))
		}
	}
	return given, nil
}

// notUnder refuses a key that stands under a setting as if that were a section. It may be a secret.
func notUnder(keys []string, key, source string) error {
	for _, known := range keys {
		switch {
		case !strings.HasPrefix(key, known+"."):
		case known == clientsKey:
			return noClientList(source)
		default:
			return setting{key: known}.mistake(value{source: source}, errOneValue)
		}
	}
	return nil
}

var errDocuments = errors.New("holds several YAML documents")

// oneDocument refuses a second document, which the parser would ignore.
type oneDocument struct{ *yaml.YAML }

func (p oneDocument) Unmarshal(b []byte) (map[string]any, error) {
	begun := false
	for line := range bytes.Lines(b) {
		marker := bytes.HasPrefix(line, []byte("---"))
		if marker && begun {
			return nil, errDocuments
		}
		content := bytes.TrimSpace(line)
		begun = begun || marker || len(content) > 0 && content[0] != '#' && content[0] != '%'
	}
	settings, err := p.YAML.Unmarshal(b)
	if err != nil && line(err) == "" {
		if _, below := p.YAML.Unmarshal(append([]byte("\n"), b...)); line(below) != "" { // the parser names no line where it is the first
			return nil, fmt.Errorf("line 1: %w", err)
		}
	}
	return settings, err //nolint:wrapcheck // the parser's own
}

// fileNames returns the keys that may stand in the file, and the names of the sections that they stand in.
func fileNames(table []setting) (keys, sections []string) {
	for _, s := range table {
		if section, _, nested := strings.Cut(s.key, "."); nested {
			sections = append(sections, section)
		}
		if s.key != configKey {
			keys = append(keys, s.key)
		}
	}
	return keys, sections
}

// undotted refuses a dot inside a key: the same setting could then stand in the file twice.
func undotted(parts []string) error {
	for _, part := range parts {
		if before, after, dotted := strings.Cut(part, "."); dotted {
			return fmt.Errorf("has a dot in its name: write %s indented under %s", plain(after), plain(before))
		}
	}
	return nil
}

func empty(raw any) bool {
	m, ok := raw.(map[string]any)
	return raw == nil || ok && len(m) == 0
}

// line returns " (line N)" when a YAML error names one. The rest of such an error may quote a value, which may be secret.
func line(err error) string {
	if n := regexp.MustCompile(`line \d+`).FindString(fmt.Sprint(err)); n != "" {
		return " (" + n + ")"
	}
	return ""
}
