package sandbox

import (
	_ "embed" // the page
	"html/template"
	"net/http"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// wantsPage tells a person's browser from a client: only the former asks for HTML by name.
func wantsPage(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// welcome says what this is, what is in it, and how to point clients at it.
func (s *Sandbox) welcome(w http.ResponseWriter, r *http.Request) {
	data := struct {
		URL                                            string
		Admins                                         []string
		Orgs, Spaces, Apps, Started, Services, Brokers int
		Requests                                       int
	}{URL: cc.BaseURL(r)}
	data.Requests, _ = s.counter.Counts()
	s.cc.View(func(tx *cc.Tx) {
		for u := range tx.W.Users.All() {
			for _, scope := range u.Scopes {
				if scope == AdminScopes[0] {
					data.Admins = append(data.Admins, u.Username)
				}
			}
		}
		for a := range tx.W.Apps.All() {
			if a.Started {
				data.Started++
			}
		}
		data.Orgs, data.Spaces, data.Apps = tx.W.Orgs.Len(), tx.W.Spaces.Len(), tx.W.Apps.Len()
		data.Services, data.Brokers = tx.W.ServiceInstances.Len(), tx.W.ServiceBrokers.Len()
	})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept")
	if err := page.Execute(w, data); err != nil {
		s.cc.Log.Error("the page cannot be shown", "err", err)
	}
}
