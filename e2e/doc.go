// Package e2e tests the real binary as a stranger would: over the network, with other people's clients and verifiers, with
// signals and broken files. It is a module of its own, so that those libraries stay out of the product, and it imports
// nothing of ours.
//
// TestMain builds the binary once, with the race detector. Each test starts processes of it on free ports, in a folder of
// its own, and ends them.
package e2e
