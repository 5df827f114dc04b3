package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/planfile"
)

// settingFlags are the settings that a one-shot command takes as flags, for apps whose manifest does not say it.
type settingFlags []*settingFlag

type settingFlag struct{ name, text string }

func (f *settingFlags) register(cmd *cobra.Command) {
	for _, s := range [][2]string{
		{"strategy", "how instances are replaced: rolling, canary or recreate"},
		{"max-in-flight", "how many instances are replaced at a time"},
		{"canary-steps", "percentages at which a canary rollout pauses, such as 10,50"},
		{"canary-pause", "how long it pauses at each step, or manual"},
		{"rollout-timeout", "how long a rollout may go without progress before it is taken back (default 10m)"},
		{"settle", "how long new instances have to keep running before a rollout counts as good (default 2s)"},
	} {
		flag := &settingFlag{name: s[0]}
		*f = append(*f, flag)
		cmd.Flags().StringVar(&flag.text, flag.name, "", s[1]+", for apps whose manifest does not say it")
	}
}

func (f settingFlags) settings() (*manifest.Settings, error) {
	texts := map[string]string{}
	for _, flag := range f {
		if flag.text != "" {
			texts[flag.name] = flag.text
		}
	}
	return manifest.NewSettings(texts)
}

// follow takes from the plan what the flags leave open. They may repeat what it says, and not contradict it.
func (f settingFlags) follow(plan *planfile.Plan) (*manifest.Settings, error) {
	for _, flag := range f {
		switch planned := plan.Inputs.Rollout[flag.name]; {
		case flag.text == "" || flag.text == planned:
		case planned == "":
			return nil, fmt.Errorf("the plan was made without --%s: give it to `fettle diff --out`", flag.name)
		default:
			return nil, fmt.Errorf("the plan was made with --%s %s, not with %s", flag.name, planned, flag.text)
		}
	}
	return manifest.NewSettings(plan.Inputs.Rollout)
}
