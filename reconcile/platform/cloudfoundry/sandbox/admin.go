package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
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
	s.mux.HandleFunc("GET "+adminPath+"/speed", s.showSpeed)
	s.mux.HandleFunc("PUT "+adminPath+"/speed", s.changeSpeed)
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

// speedJSON is how the speed is shown and given.
type speedJSON struct {
	Speed float64 `json:"speed"`
}

func (s *Sandbox) showSpeed(w http.ResponseWriter, _ *http.Request) {
	var out speedJSON
	s.cc.View(func(tx *cc.Tx) { out.Speed = tx.S.Speed })
	answer(w, http.StatusOK, out)
}

func (s *Sandbox) changeSpeed(w http.ResponseWriter, r *http.Request) {
	var in speedJSON
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || in.Speed <= 0 {
		complain(w, errors.New(`the speed is a number above 0: write {"speed": 10}`))
		return
	}
	s.SetSpeed(in.Speed)
	s.showSpeed(w, r)
}
