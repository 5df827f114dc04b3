package cli

import (
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile"
	"github.com/fettle-gitops/fettle/reconcile/history"
	"github.com/fettle-gitops/fettle/reconcile/history/report"
)

func driftCommand(env Env) *cobra.Command {
	var store storeFlags
	cmd := &cobra.Command{
		Use:     "drift",
		GroupID: "agent",
		Short:   "Read the record of what no longer matched Git, since when, and who changed it",
		Args:    cobra.NoArgs, // a misspelt subcommand is a mistake, not a wish for help
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	store.register(cmd)
	cmd.AddCommand(driftListCommand(env, &store), driftShowCommand(env, &store), driftReportCommand(env, &store))
	return cmd
}

// driftFlags select records.
type driftFlags struct {
	target, org, space, ref, actor string
	since                          time.Duration
}

func (f *driftFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.target, "target", "", "only this target")
	fl.StringVarP(&f.org, "org", "o", "", "only this organization")
	fl.StringVarP(&f.space, "space", "s", "", "only this space (with --org)")
	fl.StringVar(&f.ref, "resource", "", `only this resource, for example "app acme/dev/web"`)
	fl.StringVar(&f.actor, "by", "", "only what this user changed")
	fl.DurationVar(&f.since, "since", 0, "only what was seen or resolved within this time, for example 24h")
}

func (f *driftFlags) filter() (history.DriftFilter, error) {
	d := history.DriftFilter{Target: f.target, Org: f.org, Actor: f.actor}
	if f.space != "" {
		if f.org == "" {
			return d, errors.New("--space goes with --org")
		}
		d.Space, d.Org = f.org+"/"+f.space, ""
	}
	if f.ref != "" {
		ref, err := manifest.ParseRef(f.ref)
		if err != nil {
			return d, fmt.Errorf("--resource: %w", err)
		}
		d.Ref = ref
	}
	if f.since > 0 {
		d.Since = time.Now().Add(-f.since)
	}
	return d, nil
}

func driftListCommand(env Env, store *storeFlags) *cobra.Command {
	var which driftFlags
	var all bool
	var format string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List drift: what is out of sync now, with --all also what was resolved",
		Example: `  fettle drift list --config fettle.yml
  fettle drift list --history fettle.db --all --since 168h --by mallory@example.com`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", format, "text", "json"); err != nil {
				return err
			}
			filter, err := which.filter()
			if err != nil {
				return err
			}
			filter.OpenOnly, filter.Limit = !all, limit
			h, err := store.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer h.Close()
			found, err := h.Drift(cmd.Context(), filter)
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(env.Out, driftViews(found))
			}
			if len(found) == 0 {
				if all {
					fmt.Fprintln(env.Out, "No drift is recorded.")
				} else {
					fmt.Fprintln(env.Out, "Nothing is out of sync. (--all shows what was.)")
				}
				return nil
			}
			w := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tTARGET\tRESOURCE\tFIELD\tDECLARED\tLIVE\tFIRST SEEN\tBY\tSTATE")
			for _, d := range found {
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Target, report.Plain(d.Ref.String()), fieldName(d),
					report.Value(d, d.Declared), report.Value(d, d.Live), stamp(d.FirstSeen), report.Plain(report.By(d)), stateOf(d))
			}
			return w.Flush()
		},
	}
	which.register(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also what was resolved")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at the most")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

func driftShowCommand(env Env, store *storeFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one drift record, whole",
		Example: `  fettle drift show 12 --config fettle.yml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("--format", format, "text", "json"); err != nil {
				return err
			}
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id <= 0 {
				return fmt.Errorf("%q is no drift ID: `fettle drift list` shows them", args[0])
			}
			h, err := store.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer h.Close()
			found, err := h.Drift(cmd.Context(), history.DriftFilter{ID: id})
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return fmt.Errorf("there is no drift record %d: `fettle drift list --all` shows them", id)
			}
			d := found[0]
			if format == "json" {
				return writeJSON(env.Out, driftViews(found)[0])
			}
			w := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
			line := func(name, value string) {
				if value != "" {
					fmt.Fprintf(w, "%s\t%s\n", name, report.Plain(value))
				}
			}
			line("resource", d.Ref.String())
			line("field", fieldName(d))
			line("target", d.Target)
			line("declared", report.Value(d, d.Declared))
			line("live", report.Value(d, d.Live))
			line("declared at", d.Origin.String())
			line("revision", reconcile.Short(d.Revision))
			line("to heal it", d.Impact)
			line("first seen", stamp(d.FirstSeen))
			line("last seen", fmt.Sprintf("%s (seen %s)", stamp(d.LastSeen), plural(d.Seen, "time")))
			line("changed by", report.By(d))
			if !d.By.At.IsZero() {
				line("changed at", stamp(d.By.At))
			}
			line("event", d.By.Event)
			line("note", d.By.Note)
			line("state", stateOf(d))
			if d.ResolvedBy != 0 {
				line("by run", strconv.FormatInt(d.ResolvedBy, 10))
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

func driftReportCommand(env Env, store *storeFlags) *cobra.Command {
	var which driftFlags
	var format string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "The morning report: what is out of sync, since when, who did it, and what became of the rest",
		Example: `  fettle drift report --config fettle.yml
  fettle drift report --config fettle.yml --since 168h --format markdown > report.md`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", format, "text", "json", "markdown"); err != nil {
				return err
			}
			if which.since == 0 {
				which.since = 24 * time.Hour
			}
			filter, err := which.filter()
			if err != nil {
				return err
			}
			h, err := store.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer h.Close()
			r, err := report.Build(cmd.Context(), h, filter, time.Now())
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return report.JSON(env.Out, r)
			case "markdown":
				return report.Markdown(env.Out, r)
			}
			return report.Text(env.Out, r)
		},
	}
	which.register(cmd)
	cmd.Flags().StringVar(&format, "format", "text", "text, json or markdown")
	return cmd
}

func fieldName(d history.Drift) string {
	if d.Path == "" {
		return "(whole resource)"
	}
	return report.FieldPath(d)
}

func stateOf(d history.Drift) string {
	if d.Resolution == history.Open {
		return "open"
	}
	return fmt.Sprintf("%s %s", d.Resolution, stamp(d.ResolvedAt))
}

// driftView is a record as machines read it.
type driftView struct {
	ID         int64           `json:"id"`
	Target     string          `json:"target"`
	Resource   string          `json:"resource"`
	Field      string          `json:"field"`
	Op         string          `json:"op"`
	Declared   string          `json:"declared"`
	Live       string          `json:"live"`
	Secret     bool            `json:"secret"`
	Origin     manifest.Origin `json:"origin"`
	Impact     string          `json:"impact"`
	Revision   string          `json:"revision"`
	FirstSeen  time.Time       `json:"first_seen"`
	LastSeen   time.Time       `json:"last_seen"`
	Seen       int             `json:"seen"`
	By         any             `json:"by"`
	State      string          `json:"state"`
	ResolvedAt *time.Time      `json:"resolved_at"`
	ResolvedBy int64           `json:"resolved_by_run,omitempty"`
}

func driftViews(found []history.Drift) []driftView {
	views := make([]driftView, 0, len(found))
	for _, d := range found {
		v := driftView{
			ID: d.ID, Target: d.Target, Resource: d.Ref.String(), Field: d.Path, Op: string(d.Op), Declared: d.Declared, Live: d.Live, Secret: d.Secret,
			Origin: d.Origin, Impact: d.Impact, Revision: d.Revision, FirstSeen: d.FirstSeen, LastSeen: d.LastSeen, Seen: d.Seen, By: d.By,
			State: "open", ResolvedBy: d.ResolvedBy,
		}
		if d.Resolution != history.Open {
			v.State, v.ResolvedAt = string(d.Resolution), &d.ResolvedAt
		}
		views = append(views, v)
	}
	return views
}
