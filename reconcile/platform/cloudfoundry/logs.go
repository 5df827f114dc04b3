package cloudfoundry

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/manifest"
	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// What an app said last often is the whole reason why it failed. The end of its log becomes a part of the error, without
// what must not be shown. Where it cannot be read there is none; that is no error of its own.

const (
	tailLines   = 5
	tailColumns = 200             // of a line
	tailRead    = 100             // lines read to find those
	tailTimeout = 5 * time.Second // of the reading
	tailSlack   = 3 * time.Second // of the clocks of the cells
)

// tail is which lines of the app's log belong to a failure.
type tail struct {
	since   time.Time
	sources []string // beginnings of their source, such as STG
	process string   // guid of the process, where it is known
}

// noise is told around every failure, and explains none: that containers come and go, and what the error says already.
var noise = regexp.MustCompile(`^Cell \S+ (creating|successfully|stopping|destroying) |^Security group rules were updated|^Invoking start command` +
	`|^Download(ing|ed) (\S+|app package( \(.*)?)(\.\.\.)?$|^Exit status \d+$`)

// addTail puts the end of the log into the error.
func (r *appRun) addTail(ctx context.Context, e *platform.Error, t tail) *platform.Error {
	ctx, cancel := context.WithTimeout(ctx, tailTimeout)
	defer cancel()
	lines, err := r.d.client.RecentLogs(ctx, r.guid, t.since.Add(-tailSlack), tailRead)
	if err != nil {
		return e
	}
	var last []string
	hide := r.secrets()
	for _, l := range slices.Backward(lines) {
		text := strings.Join(strings.Fields(l.Text), " ")
		if len(last) == tailLines || text == "" || !t.has(l) || noise.MatchString(text) || strings.Contains(text, e.Message) {
			continue
		}
		if text = clip(manifest.MaskLine(hide.Replace(text))); len(last) == 0 || last[len(last)-1] != text { // each instance says the same
			last = append(last, text)
		}
	}
	if len(last) > 0 {
		slices.Reverse(last)
		e.Message += "; its log ends with: " + strings.Join(last, " | ")
	}
	return e
}

func (t tail) has(l ccv3.LogLine) bool {
	if t.process != "" && l.Process != "" && l.Process != t.process {
		return false // an instance of the old version, which serves on
	}
	return slices.ContainsFunc(t.sources, func(s string) bool { return strings.HasPrefix(l.Source, s) })
}

func clip(text string) string {
	if r := []rune(text); len(r) > tailColumns {
		return string(r[:tailColumns-1]) + "…"
	}
	return text
}

// secrets replaces what Git calls secret, and what looks like it, of all that the app is made of or was made of before.
func (r *appRun) secrets() *strings.Replacer {
	found := map[string]bool{}
	for _, o := range slices.Concat(r.desired.Objects(), r.data.set.Objects(), []*manifest.Object{r.app, r.live}) {
		if o == nil {
			continue
		}
		isSecret := func(pointer string) bool { return o.IsSecret(pointer) || r.app.Ref == o.Ref && r.app.IsSecret(pointer) }
		collect(found, isSecret, "", "", o.Spec, false)
		collect(found, isSecret, "", "", o.Inputs, false)
		collect(found, isSecret, "", "", o.Inputs["parameters"], true)
	}
	var pairs []string
	for text := range found {
		// An app may print it as it is, a part of an address, or as the platform hands it on.
		pairs = append(pairs, text, url.QueryEscape(text), url.PathEscape(text), base64.StdEncoding.EncodeToString([]byte(text)))
		for line := range strings.Lines(text) {
			pairs = append(pairs, strings.Join(strings.Fields(line), " "))
		}
	}
	slices.SortFunc(pairs, func(a, b string) int { return len(b) - len(a) }) // the first that fits is replaced
	var replace []string
	for _, p := range slices.Compact(pairs) {
		if p != "" {
			replace = append(replace, p, "(secret)")
		}
	}
	return strings.NewReplacer(replace...)
}

// collect gathers the texts below v, which stands at pointer under the name key, that must not be shown.
func collect(found map[string]bool, isSecret func(string) bool, pointer, key string, v any, secret bool) {
	secret = secret || isSecret(pointer)
	switch v := v.(type) {
	case nil, bool:
	case map[string]any:
		for k, child := range v {
			collect(found, isSecret, pointer+manifest.Pointer(k), k, child, secret)
		}
	case []any:
		for _, child := range v {
			collect(found, isSecret, pointer, key, child, secret)
		}
	default:
		if text := fmt.Sprint(v); text != "" && (secret || manifest.LooksSecret(key, v)) {
			found[text] = true
		}
	}
}
