package cli

import "github.com/spf13/cobra"

func fmtCommand(Env) *cobra.Command { return &cobra.Command{Use: "fmt", Hidden: true} }
