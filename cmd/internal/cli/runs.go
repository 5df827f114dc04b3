package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
)

func runsCommand(env Env) *cobra.Command {
	var store storeFlags
	var format, target string
	var limit int
	cmd := &cobra.Command{
		Use:     "runs",
		GroupID: "agent",
		Short:   "List what the agent did: when, why, which revision, with what result",
		Example: `  fettle runs --config fettle.yml
  fettle runs --history fettle.db --target shop-dev --limit 5 --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", format, "text", "json"); err != nil {
				return err
			}
			h, err := store.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer h.Close()
			runs, err := h.Runs(cmd.Context(), history.RunFilter{Target: target, Limit: limit})
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(env.Out, runViews(runs))
			}
			if len(runs) == 0 {
				fmt.Fprintln(env.Out, "No run is recorded yet.")
				return nil
			}
			w := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "RUN\tTARGET\tSTARTED\tTOOK\tTRIGGER\tREVISION\tRESULT\tCHANGES\tREQUESTS")
			for _, r := range runs {
				took := "-"
				if !r.EndedAt.IsZero() {
					took = r.EndedAt.Sub(r.StartedAt).Round(100 * time.Millisecond).String()
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", r.ID, r.Target, stamp(r.StartedAt), took, r.Trigger,
					reconcile.Short(r.Revision), r.Result, r.Changes, r.Requests)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			for _, r := range runs {
				if r.Error != "" {
					fmt.Fprintf(env.Out, "\nrun %d: %s\n", r.ID, r.Error)
				}
			}
			return nil
		},
	}
	store.register(cmd)
	cmd.Flags().StringVar(&target, "target", "", "only runs of this target")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at the most")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

// runView is a run as machines read it.
type runView struct {
	ID        int64      `json:"id"`
	Target    string     `json:"target"`
	Trigger   string     `json:"trigger"`
	Mode      string     `json:"mode"`
	Revision  string     `json:"revision"`
	Author    string     `json:"author,omitempty"`
	Subject   string     `json:"subject,omitempty"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Result    string     `json:"result"`
	Error     string     `json:"error,omitempty"`
	Requests  int64      `json:"requests"`
	Changes   int        `json:"changes"`
	Steps     []stepView `json:"steps"`
}

type stepView struct {
	Resource string  `json:"resource"`
	Phase    string  `json:"phase"`
	Changes  int     `json:"changes"`
	Impact   string  `json:"impact"`
	Error    string  `json:"error,omitempty"`
	Seconds  float64 `json:"seconds"`
}

func runViews(runs []history.Run) []runView {
	views := make([]runView, 0, len(runs))
	for _, r := range runs {
		v := runView{
			ID: r.ID, Target: r.Target, Trigger: string(r.Trigger), Mode: r.Mode, Revision: r.Revision, Author: r.Author, Subject: r.Subject,
			StartedAt: r.StartedAt, Result: string(r.Result), Error: r.Error, Requests: r.Requests, Changes: r.Changes, Steps: []stepView{},
		}
		if !r.EndedAt.IsZero() {
			v.EndedAt = &r.EndedAt
		}
		for _, s := range r.Steps {
			v.Steps = append(v.Steps, stepView{s.Ref.String(), string(s.Phase), s.Changes, s.Impact, s.Error, s.Duration.Seconds()})
		}
		views = append(views, v)
	}
	return views
}

// stamp is a moment as people compare it: local time, to the second.
func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
