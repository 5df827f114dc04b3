package sandbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
)

// adminPath is where the sandbox itself is looked at and set. It stands apart from the API, wants no token, and what
// happens there is neither counted nor limited.
const adminPath = "/sandbox"

func (s *Sandbox) registerAdmin() {
	s.mux.HandleFunc("GET "+adminPath, s.welcome)
	s.mux.HandleFunc("GET "+adminPath+"/{$}", s.welcome)
	s.mux.HandleFunc("GET "+adminPath+"/requests", s.showRequests)
	s.mux.HandleFunc("DELETE "+adminPath+"/requests", func(w http.ResponseWriter, _ *http.Request) {
		s.counter.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	s.mux.HandleFunc("GET "+adminPath+"/faults", s.showFaults)
	s.mux.HandleFunc("PUT "+adminPath+"/faults", func(w http.ResponseWriter, r *http.Request) { s.changeFaults(w, r, s.faults.Set) })
	s.mux.HandleFunc("POST "+adminPath+"/faults", func(w http.ResponseWriter, r *http.Request) { s.changeFaults(w, r, s.faults.Add) })
	s.mux.HandleFunc("DELETE "+adminPath+"/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.faults.Set(nil)
		w.WriteHeader(http.StatusNoContent)
	})
	s.mux.HandleFunc("GET "+adminPath+"/rate-limit", s.showRateLimit)
	s.mux.HandleFunc("PUT "+adminPath+"/rate-limit", s.changeRateLimit)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
}

func complain(w http.ResponseWriter, err error) {
	answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}

func (s *Sandbox) showRequests(w http.ResponseWriter, _ *http.Request) {
	total, counts := s.counter.Counts()
	answer(w, http.StatusOK, map[string]any{"total": total, "endpoints": counts})
}

func (s *Sandbox) showFaults(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"faults": s.faults.List()})
}

// changeFaults reads rules, one a line; empty lines and those with a # before them are overlooked. One bad rule and none
// is taken.
func (s *Sandbox) changeFaults(w http.ResponseWriter, r *http.Request, change func([]Fault)) {
	var faults []Fault
	lines := bufio.NewScanner(http.MaxBytesReader(w, r.Body, 1<<20))
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		f, err := ParseFault(text)
		if err != nil {
			complain(w, err)
			return
		}
		faults = append(faults, f)
	}
	if err := lines.Err(); err != nil {
		complain(w, err)
		return
	}
	change(faults)
	s.showFaults(w, r)
}

// limitsJSON is how limits are shown and given.
type limitsJSON struct {
	RateLimit
	Window string `json:"window"`
}

func (s *Sandbox) showRateLimit(w http.ResponseWriter, _ *http.Request) {
	l := s.limiter.Get()
	if l.Window == 0 {
		l.Window = time.Hour
	}
	answer(w, http.StatusOK, limitsJSON{l, l.Window.String()})
}

func (s *Sandbox) changeRateLimit(w http.ResponseWriter, r *http.Request) {
	var in limitsJSON
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		complain(w, fmt.Errorf(`the limits cannot be read: %w; write {"general": 2000, "unauthenticated": 100, "window": "1h"}`, err))
		return
	}
	if in.Window != "" {
		window, err := time.ParseDuration(in.Window)
		if err != nil || window <= 0 {
			complain(w, fmt.Errorf("window %q is not a duration such as 1h or 30s", in.Window))
			return
		}
		in.RateLimit.Window = window
	}
	s.limiter.Set(in.RateLimit)
	s.showRateLimit(w, r)
}

// welcome says what this is and how to use it.
func (s *Sandbox) welcome(w http.ResponseWriter, r *http.Request) {
	url := html.EscapeString(cc.BaseURL(r))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, strings.ReplaceAll(welcomePage, "URL", url))
}

const welcomePage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Fettle sandbox</title>
<style>body{font:16px/1.5 system-ui;max-width:46rem;margin:3rem auto;padding:0 1rem}pre{background:#f3f3f0;padding:.8rem;overflow:auto}</style>
<h1>This is a sandbox</h1>
<p>It speaks the Cloud Controller V3 API with an account server (UAA), service brokers and a log cache, all in one process.
Builds take a moment to stage, instances a moment to run, deployments really roll; no container is started and no request
to an app is answered.</p>
<h2>cf</h2>
<pre>cf api URL
cf auth admin admin
cf create-org acme &amp;&amp; cf target -o acme &amp;&amp; cf create-space dev &amp;&amp; cf target -s dev
cf marketplace</pre>
<h2>Terraform</h2>
<pre>provider "cloudfoundry" {
  api_url  = "URL"
  user     = "admin"
  password = "admin"
}</pre>
<h2>Fettle</h2>
<pre>export CF_API=URL CF_USERNAME=admin CF_PASSWORD=admin
fettle diff -f manifest.yml -o acme -s dev</pre>
<h2>The sandbox itself</h2>
<pre>curl URL/sandbox/requests                      # how many requests, by endpoint; DELETE begins anew
curl URL/sandbox/faults                        # what goes wrong, and how often it has
curl -X POST -d 'POST /v3/apps/*/actions/start status=503 after times=1' URL/sandbox/faults
curl -X POST -d 'CRASH web*' URL/sandbox/faults
curl -X DELETE URL/sandbox/faults
curl -X PUT -d '{"general": 100, "unauthenticated": 10, "window": "1m"}' URL/sandbox/rate-limit</pre>
<p>Apps also fail on demand: FAULT_CRASH, FAULT_STUCK, FAULT_FLAP, FAULT_STAGE_FAIL or FAULT_TASK_FAIL in the environment, a
command, an image, or as the name of a file.</p>
`
