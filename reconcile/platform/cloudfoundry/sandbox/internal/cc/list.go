package cc

import (
	"cmp"
	"fmt"
	"iter"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// List describes a list endpoint: which query parameters it takes, how it may be ordered, how an entry looks. The zero
// value of everything but Show is a plain list.
type List[R world.Row] struct {
	// Filters are the parameters beyond page, per_page, order_by, created_ats, updated_ats and guids, in the order in
	// which the controller lists them when it complains about an unknown one.
	Filters []Filter[R]
	// Orders are the order_by values beyond created_at and updated_at, in the order of the complaint.
	Orders []Order[R]
	// OnlyOrders replaces created_at and updated_at by what Orders says.
	OnlyOrders bool
	// Default is an order_by that is applied, and shown in links, when the request names none ("created_at" for roles).
	Default string
	// Unprocessable lists answer bad parameters with 422 10008 (roles, users, security_groups, space_quotas).
	Unprocessable bool
	// Show presents one entry.
	Show func(*Req, R) any
	// Included adds to the answer what the parameter include asks for.
	Included func(q *Req, include []string, rows []R) tree.Obj
	// Extra does so for lists with the parameter fields; it adds nothing when it returns nil.
	Extra func(q *Req, rows []R) tree.Obj
}

// Filter is one query parameter of a list.
type Filter[R world.Row] struct {
	Name string
	// Make checks the value and returns the predicate; nil for parameters that filter nothing. The text describes what
	// is wrong with the value.
	Make func(q *Req, values []string) (match func(R) bool, problem string)
	// Not allows the operator [not].
	Not bool
}

// Order is one value of order_by.
type Order[R world.Row] struct {
	Name    string
	Compare func(a, b R) int
}

// In filters by a set of exact values.
func In[R world.Row](name string, value func(q *Req, r R) string) Filter[R] {
	return Filter[R]{Name: name, Make: func(q *Req, values []string) (func(R) bool, string) {
		set := make(map[string]bool, len(values))
		for _, v := range values {
			set[v] = true
		}
		return func(r R) bool { return set[value(q, r)] }, ""
	}}
}

// Fold filters by a set of names without regard to case.
func Fold[R world.Row](name string, value func(q *Req, r R) string) Filter[R] {
	return Filter[R]{Name: name, Make: func(q *Req, values []string) (func(R) bool, string) {
		set := make(map[string]bool, len(values))
		for _, v := range values {
			set[strings.ToLower(v)] = true
		}
		return func(r R) bool { return set[strings.ToLower(value(q, r))] }, ""
	}}
}

// Any filters by overlap of two sets.
func Any[R world.Row](name string, value func(q *Req, r R) []string) Filter[R] {
	return Filter[R]{Name: name, Make: func(q *Req, values []string) (func(R) bool, string) {
		return func(r R) bool {
			return slices.ContainsFunc(value(q, r), func(v string) bool { return slices.Contains(values, v) })
		}, ""
	}}
}

// Labels is the parameter label_selector.
func Labels[R world.Row]() Filter[R] {
	return Filter[R]{Name: "label_selector", Make: func(q *Req, _ []string) (func(R) bool, string) {
		reqs, problem := parseSelector(q.Query.Get("label_selector"))
		return func(r R) bool {
			l := r.Head().Labels
			return !slices.ContainsFunc(reqs, func(c requirement) bool { return !c.matches(l) })
		}, problem
	}}
}

// Include is the parameter include with its allowed values.
func Include[R world.Row](allowed ...string) Filter[R] {
	return Filter[R]{Name: "include", Make: func(_ *Req, values []string) (func(R) bool, string) {
		return nil, IncludeProblem(values, allowed...)
	}}
}

// IncludeProblem is what is wrong with the values of include, "" if nothing.
func IncludeProblem(values []string, allowed ...string) string {
	seen := map[string]bool{}
	for _, v := range values {
		if !slices.Contains(allowed, v) {
			return fmt.Sprintf("Invalid included resource: '%s'. Valid included resources are: '%s'", v, strings.Join(allowed, "', '"))
		}
		if seen[v] {
			return fmt.Sprintf("Duplicate included resource: '%s'", v)
		}
		seen[v] = true
	}
	return ""
}

// Param declares a parameter that the endpoint itself looks at.
func Param[R world.Row](name string) Filter[R] { return Filter[R]{Name: name} }

// Included is what include asks a single resource for; check with IncludeProblem.
func (q *Req) Included() []string { return split(q.Query.Get("include")) }

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

var commas = regexp.MustCompile(`,\s*`)

const (
	defaultPerPage = 50
	maxPerPage     = 5000
)

// Answer filters, orders, cuts and presents rows. keep says which of them the caller may see.
func (l *List[R]) Answer(q *Req, rows iter.Seq[R], keep func(R) bool) (*Reply, error) {
	match, page, perPage, err := l.read(q)
	if err != nil {
		return nil, err
	}
	var found []R
	for r := range rows {
		if keep != nil && !keep(r) || !match(r) {
			continue
		}
		found = append(found, r)
	}
	shown, err := l.sort(q, found)
	if err != nil {
		return nil, err
	}
	total := len(found)
	from := min((page-1)*perPage, total)
	rowsOut := found[from:min(from+perPage, total)]
	if from >= total && page > 1 {
		total = 0 // observed fact: beyond the end nothing is counted
	}
	out := make([]any, len(rowsOut))
	for i, r := range rowsOut {
		out[i] = l.Show(q, r)
	}
	body := tree.O("pagination", q.pagination(total, page, perPage, shown), "resources", out)
	if inc := split(q.Query.Get("include")); inc != nil && l.Included != nil {
		body = append(body, tree.Field{Key: "included", Value: l.Included(q, inc, rowsOut)})
	}
	if l.Extra != nil {
		if inc := l.Extra(q, rowsOut); inc != nil {
			body = append(body, tree.Field{Key: "included", Value: inc})
		}
	}
	return OK(body), nil
}

func (l *List[R]) fail(problem string) error {
	if l.Unprocessable {
		return Unprocessable("%s", problem)
	}
	return BadQuery(problem)
}

// read checks all parameters and returns the conjunction of the filters.
func (l *List[R]) read(q *Req) (match func(R) bool, page, perPage int, err error) {
	q.lastWins()
	names := []string{"page", "per_page", "order_by", "created_ats", "updated_ats", "guids"}
	for _, f := range l.Filters {
		names = append(names, f.Name)
	}
	var unknown []string
	for _, k := range q.queryKeys() {
		name, op, hasOp := operator(k)
		if !slices.Contains(names, name) || hasOp && op == "" {
			unknown = append(unknown, "'"+name+"'")
		}
	}
	if unknown != nil {
		return nil, 0, 0, l.fail("Unknown query parameter(s): " + strings.Join(unknown, ", ") + ". Valid parameters are: '" + strings.Join(names, "', '") + "'")
	}
	page, perPage, problem := q.page()
	if problem != "" {
		return nil, 0, 0, l.fail(problem)
	}
	var all []func(R) bool
	for _, k := range q.queryKeys() {
		name, op, _ := operator(k)
		values := commas.Split(q.Query.Get(k), -1)
		switch name {
		case "page", "per_page", "order_by":
			continue
		case "guids":
			set := make(map[string]bool, len(values))
			for _, v := range values {
				set[v] = true
			}
			all = append(all, func(r R) bool { return set[r.Head().GUID] })
			continue
		case "created_ats", "updated_ats":
			m, problem := timeFilter(name, op, values)
			if problem != "" {
				return nil, 0, 0, l.fail(problem)
			}
			if name == "created_ats" {
				all = append(all, func(r R) bool { return m(r.Head().Created) })
			} else {
				all = append(all, func(r R) bool { return m(r.Head().Updated) })
			}
			continue
		}
		for i := range l.Filters {
			f := &l.Filters[i]
			if f.Name != name || f.Make == nil {
				continue
			}
			m, problem := f.Make(q, values)
			if problem != "" {
				return nil, 0, 0, l.fail(problem)
			}
			if m == nil {
				break
			}
			if op == "not" && f.Not {
				pos := m
				m = func(r R) bool { return !pos(r) }
			}
			all = append(all, m)
			break
		}
	}
	return func(r R) bool {
		for _, m := range all {
			if !m(r) {
				return false
			}
		}
		return true
	}, page, perPage, nil
}

// sort orders rows as asked; the default is the order of creation, in which they come. It returns the order as links
// show it.
func (l *List[R]) sort(q *Req, rows []R) (string, error) {
	by := q.Query.Get("order_by")
	if by == "" {
		by = l.Default
	}
	if by == "" {
		return "", nil
	}
	name, down := strings.CutPrefix(by, "-")
	orders := l.Orders
	if !l.OnlyOrders {
		orders = append([]Order[R]{
			{"created_at", func(a, b R) int { return cmp.Compare(a.Head().Seq, b.Head().Seq) }},
			{"updated_at", func(a, b R) int { return a.Head().Updated.Compare(b.Head().Updated) }},
		}, orders...)
	}
	var names []string
	for _, o := range orders {
		names = append(names, "'"+o.Name+"'")
		if o.Name != name {
			continue
		}
		slices.SortStableFunc(rows, func(a, b R) int {
			c := o.Compare(a, b)
			if c == 0 {
				c = cmp.Compare(a.Head().GUID, b.Head().GUID)
			}
			if down {
				return -c
			}
			return c
		})
		if down {
			return "-" + name, nil
		}
		return "+" + name, nil
	}
	return "", l.fail("Order by can only be: " + strings.Join(names, ", "))
}

// lastWins keeps the last of repeated parameters, as Rack does.
func (q *Req) lastWins() {
	for k, v := range q.Query {
		if len(v) > 1 {
			q.Query[k] = v[len(v)-1:]
		}
	}
}

// queryKeys lists the parameters in the order of the request.
func (q *Req) queryKeys() []string {
	var keys []string
	for part := range strings.SplitSeq(q.HTTP.URL.RawQuery, "&") {
		k, _, _ := strings.Cut(part, "=")
		k, err := url.QueryUnescape(k)
		if err == nil && k != "" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// operator splits created_ats[gt] into its name and operator.
func operator(key string) (name, op string, has bool) {
	name, rest, has := strings.Cut(key, "[")
	return name, strings.TrimSuffix(rest, "]"), has
}

func (q *Req) page() (page, perPage int, problem string) {
	read := func(key, label string, fallback int) (int, string) {
		s, ok := q.Query[key]
		if !ok {
			return fallback, ""
		}
		n, err := strconv.Atoi(s[0])
		if err != nil || n < 1 {
			return 0, label + " must be a positive integer"
		}
		return n, ""
	}
	page, p1 := read("page", "Page", 1)
	perPage, p2 := read("per_page", "Per page", defaultPerPage)
	switch {
	case p1 != "" && p2 != "":
		problem = p1 + ", " + p2
	case p1 != "":
		problem = p1
	case p2 != "":
		problem = p2
	case perPage > maxPerPage:
		problem = "Per page must be between 1 and 5000"
	}
	return page, perPage, problem
}

const stamp = "2006-01-02T15:04:05Z"

// Stamp is how the controller writes a time: whole seconds, UTC.
func Stamp(t time.Time) string { return t.UTC().Format(stamp) }

func timeFilter(name, op string, values []string) (func(time.Time) bool, string) {
	label := Human(name)
	switch op {
	case "", "lt", "lte", "gt", "gte":
	default:
		return nil, fmt.Sprintf("%s Invalid relational operator: '%s'", label, op)
	}
	if op != "" && len(values) > 1 {
		return nil, label + " only accepts one value when using a relational operator"
	}
	var ts []int64
	for _, v := range values {
		t, err := time.Parse(stamp, v)
		if err != nil {
			return nil, label + " has an invalid timestamp format. Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'"
		}
		ts = append(ts, t.Unix())
	}
	return func(t time.Time) bool {
		u := t.Unix()
		switch op {
		case "lt":
			return u < ts[0]
		case "lte":
			return u <= ts[0]
		case "gt":
			return u > ts[0]
		case "gte":
			return u >= ts[0]
		}
		return slices.Contains(ts, u)
	}, ""
}

func (q *Req) pagination(total, page, perPage int, order string) tree.Obj {
	last := max(1, (total+perPage-1)/perPage)
	base := url.Values{}
	for k, v := range q.Query {
		switch {
		case k == "order_by" || k == "page" || k == "per_page":
		case strings.HasSuffix(k, "[not]"):
			base[k+"[]"] = v // observed fact
		default:
			base[k] = v
		}
	}
	if order != "" {
		base.Set("order_by", order)
	}
	link := func(n int) any {
		base.Set("page", strconv.Itoa(n))
		base.Set("per_page", strconv.Itoa(perPage))
		return q.Link(q.HTTP.URL.Path + "?" + base.Encode())
	}
	var next, previous any
	if page < last {
		next = link(page + 1)
	}
	if page > 1 {
		previous = link(page - 1)
	}
	return tree.O("total_results", total, "total_pages", last, "first", link(1), "last", link(last), "next", next, "previous", previous)
}
