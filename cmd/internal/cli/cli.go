// Package cli is the command line: one file per command, each of which turns flags into calls of the packages below
// and results into text. It holds no logic of its own about manifests, differences or platforms.
//
// The program is a value that tests can start: Main takes its arguments, streams and environment.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fettle-gitops/fettle/manifest"
)

// Exit codes. They are part of the product: CI jobs decide on them.
const (
	ExitSame      = 0 // done, or nothing differs
	ExitError     = 1
	ExitDifferent = 2 // `fettle diff` found differences, or `fettle apply` was told to leave them
)

// Env is the world around the program.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Terminal bool // In and Out are a terminal: ask, and use colour
	Width    int  // of the terminal, in columns; 0 where there is none

	ErrTerminal bool // Err is a terminal
}

// System is the real world.
func System() Env {
	e := Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
	out := int(os.Stdout.Fd())
	if term.IsTerminal(out) && term.IsTerminal(int(os.Stdin.Fd())) {
		e.Terminal = true
	}
	e.ErrTerminal = term.IsTerminal(int(os.Stderr.Fd()))
	if width, _, err := term.GetSize(out); err == nil {
		e.Width = width
	}
	return e
}

// colour follows https://no-color.org: only on a terminal, and not when NO_COLOR is set to anything.
func (e Env) colour() bool {
	return e.Width > 0 && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
}

// colourErr is the same for Err.
func (e Env) colourErr() bool {
	return e.ErrTerminal && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
}

// exitCode is an error that has been told already and only sets the exit code.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Main runs the command that args name and returns the exit code.
func Main(ctx context.Context, args []string, env Env) int {
	root := &cobra.Command{
		Use:   "fettle",
		Short: "Keeps Cloud Foundry matching what is declared in Git",
		Long: `Fettle keeps a Cloud Foundry foundation matching its pattern in Git. It pulls manifests, validates them,
compares them with live platform state, applies the difference, and records every drift with who caused it.

See it work, with nothing to set up:   fettle demo
Look at one manifest from a CI job:    fettle diff -f manifest.yml -o ORG -s SPACE
Keep a foundation in shape:            fettle agent --config fettle.yml`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	root.AddGroup(
		&cobra.Group{ID: "once", Title: "Once, by hand or from CI:"},
		&cobra.Group{ID: "agent", Title: "Around the clock:"},
		&cobra.Group{ID: "try", Title: "Trying it out:"},
	)
	root.AddCommand(
		validateCommand(env), fmtCommand(env), schemaCommand(env), diffCommand(env), applyCommand(env),
		exportCommand(env), adoptCommand(env), convertCommand(env), rollbackCommand(env), rolloutCommand(env),
		agentCommand(env), driftCommand(env), runsCommand(env),
		demoCommand(env), sandboxCommand(env), versionCommand(env),
	)
	err := root.ExecuteContext(ctx)
	return tell(env, err)
}

// tell prints err for people and says which exit code it means.
func tell(env Env, err error) int {
	var code exitCode
	var problems manifest.Problems
	switch {
	case err == nil:
		return ExitSame
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &problems):
		printProblems(env, problems)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(env.Err, "fettle: stopped")
	default:
		fmt.Fprintln(env.Err, "fettle:", err)
	}
	return ExitError
}
