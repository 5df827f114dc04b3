package cloudfoundry_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// An app may come up, be taken for good by the platform, and fall over at once. Then there is no deployment left to cancel:
// what ran before is rolled out again.
func TestFallsOverAfterTheDeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFoundation(t)
		f.mustRun(web)
		before := f.state("web")
		f.files["web/server.js"] = &fstest.MapFile{Data: []byte("// second")}
		f.wire.next = &relapse{next: f.wire.next}
		s, e, _ := f.failed(strings.Replace(web, "hello", "bye", 1))
		if e.Class != platform.Rollout || !s.RolledBack || !s.Quarantine {
			t.Errorf("%v: rolled back %v, quarantine %v", e, s.RolledBack, s.Quarantine)
		}
		if after := f.state("web"); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if n := len(list[ccv3.Deployment](f, "/v3/deployments")); n != 2 {
			t.Errorf("%d deployments, want one there and one back", n)
		}
	})
}

// relapse shows instances as crashed between the end of the first deployment and the beginning of the second.
type relapse struct {
	next http.RoundTripper

	mu          sync.Mutex
	done        bool
	deployments int
}

func (r *relapse) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.Method == http.MethodPost && req.URL.Path == "/v3/deployments" {
		r.deployments++
	}
	if strings.HasPrefix(req.URL.Path, "/v3/deployments/") && bytes.Contains(body, []byte(`"DEPLOYED"`)) {
		r.done = true
	}
	if strings.HasSuffix(req.URL.Path, "/stats") && r.done && r.deployments == 1 {
		body = bytes.ReplaceAll(body, []byte("RUNNING"), []byte("CRASHED"))
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// Other people deploy too.
func TestSomebodyElseInterferes(t *testing.T) {
	for _, c := range []struct {
		name       string
		interfere  func(f *foundation, deployment string)
		class      platform.ErrorClass
		back, held bool
		want       string
	}{
		{
			name: "by cancelling the deployment",
			interfere: func(f *foundation, deployment string) {
				f.do(http.MethodPost, "/v3/deployments/"+deployment+"/actions/cancel", ccv3.Body{}, nil)
			},
			class: platform.Rollout, back: true, held: true,
			want: "manifest.yml:3:3: app acme/dev/web: rolling out: the deployment was cancelled by somebody else (the app's events say by whom: cf events web)",
		},
		{
			name: "by another deployment",
			interfere: func(f *foundation, _ string) {
				f.do(http.MethodPost, "/v3/deployments", map[string]any{"relationships": map[string]any{"app": ccv3.To(f.app("web"))}}, nil)
			},
			class: platform.Unavailable,
			want: "manifest.yml:3:3: app acme/dev/web: rolling out: another deployment of the app took the place of this one " +
				"(see who deploys it besides Fettle; the next run looks again)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFoundation(t)
				f.mustRun(web)
				before := f.state("web")
				changed := strings.Replace(web, "hello", "bye", 1)
				f.wire.next = &meddler{next: f.wire.next, do: func(deployment string) { c.interfere(f, deployment) }}
				s, e, _ := f.failed(changed)
				if e.Error() != c.want {
					t.Errorf("a person reads\n%s\nwant\n%s", e, c.want)
				}
				if e.Class != c.class || s.RolledBack != c.back || s.Quarantine != c.held {
					t.Errorf("class %s, rolled back %v, quarantine %v", e.Class, s.RolledBack, s.Quarantine)
				}
				if after := f.state("web"); c.back && after != before {
					t.Errorf("before:\n%s\nafter:\n%s", before, after)
				}
				f.mustRun(changed)
				f.converged(changed)
			})
		})
	}
}

// meddler does something at the first look at a deployment.
type meddler struct {
	next http.RoundTripper
	once sync.Once
	do   func(deployment string)
}

func (m *meddler) RoundTrip(r *http.Request) (*http.Response, error) {
	if guid, ok := strings.CutPrefix(r.URL.Path, "/v3/deployments/"); ok {
		m.once.Do(func() { m.do(guid) })
	}
	return m.next.RoundTrip(r)
}

// One request in trouble does not keep a rollback from its end.
func TestRollbackInTrouble(t *testing.T) {
	bad := strings.NewReplacer("hello", "FAULT_CRASH", "64M", "128M", "routes: [", "routes: [{route: new.apps.sandbox.test}, ").Replace(web)
	for name, what := range troubles {
		if what.kills || what.lasts {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for n, reached := 1, true; reached; n++ {
				synctest.Test(t, func(t *testing.T) {
					f := newFoundation(t)
					f.mustRun(web)
					before := f.state("web")
					var p pass
					p, reached = f.applyInTrouble(bad, n, what)
					if s := p.outcome.Steps[0]; !s.RolledBack || !s.Quarantine {
						t.Errorf("request %d: %s, rolled back %v: %v", n, s.Phase, s.RolledBack, s.Err)
					}
					if after := f.state("web"); after != before {
						t.Errorf("request %d: before:\n%s\nafter:\n%s", n, before, after)
					}
				})
			}
		})
	}
}
