// Command fettle keeps a Cloud Foundry foundation matching what is declared in Git. See `fettle --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fettle-gitops/fettle/cmd/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:], cli.System()))
}
