// Package architecture holds no code, only two friendly tests that keep the plan of the house true: which
// package may import which (the arrows of ARCHITECTURE.md), and that every package says what it is for.
//
// They parse the source files themselves rather than asking `go list`, so that the test cache notices a change.
package architecture
