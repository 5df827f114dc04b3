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
	// Each entry is written as soon as it is presented: 5,000 of them at a time would be many megabytes.
	out := []byte{'['}
	for i, r := range rowsOut {
		if i > 0 {
			out = append(out, ',')
		}
		out = tree.Append(out, l.Show(q, r))
		if i == 0 {
			out = slices.Grow(out, (len(out)+len(out)/16)*len(rowsOut))
		}
	}
	out = append(out, ']')
	body := tree.O("pagination", q.pagination(total, page, perPage, shown), "resources", tree.Raw(out))
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

// read checks all parameters and returns the conjunction of the filters. All that is wrong is said at once, in the order
// of the controller's validators: what every list has, the label selector, then what this list adds.
func (l *List[R]) read(q *Req) (match func(R) bool, page, perPage int, err error) {
	q.lastWins()
	names := []string{"page", "per_page", "order_by", "created_ats", "updated_ats", "guids"}
	for _, f := range l.Filters {
		names = append(names, f.Name)
	}
	page, perPage, problems := q.page()
	if by := q.Query.Get("order_by"); by != "" {
		if _, _, problem := l.order(by); problem != "" {
			problems = append(problems, problem)
		}
	}
	keys := q.queryKeys()
	var all []func(R) bool
	for _, attr := range []string{"created_ats", "updated_ats"} {
		for _, k := range keys {
			name, op, _ := operator(k)
			if name != attr {
				continue
			}
			m, wrong := timeFilter(name, op, commas.Split(q.Query.Get(k), -1))
			problems = append(problems, wrong...)
			all = append(all, func(r R) bool {
				if name == "created_ats" {
					return m(r.Head().Created)
				}
				return m(r.Head().Updated)
			})
		}
	}
	if slices.Contains(keys, "guids") {
		set := map[string]bool{}
		for _, v := range commas.Split(q.Query.Get("guids"), -1) {
			set[v] = true
		}
		all = append(all, func(r R) bool { return set[r.Head().GUID] })
	}
	matches, selector, rest := l.filters(q, keys)
	problems = append(problems, selector...)
	var unknown []string
	for _, k := range keys {
		name, op, hasOp := operator(k)
		if !slices.Contains(names, name) || hasOp && op == "" {
			unknown = append(unknown, "'"+name+"'")
		}
	}
	if unknown != nil {
		problems = append(problems, "Unknown query parameter(s): "+strings.Join(unknown, ", ")+". Valid parameters are: '"+strings.Join(names, "', '")+"'")
	}
	if problems = append(problems, rest...); len(problems) > 0 {
		return nil, 0, 0, l.fail(strings.Join(problems, ", "))
	}
	all = append(all, matches...)
	return func(r R) bool {
		for _, m := range all {
			if !m(r) {
				return false
			}
		}
		return true
	}, page, perPage, nil
}

// filters makes the filters of this list that the request names, and says what is wrong with the label selector and with
// the others.
func (l *List[R]) filters(q *Req, keys []string) (all []func(R) bool, selector, rest []string) {
	for i := range l.Filters {
		f := &l.Filters[i]
		for _, k := range keys {
			name, op, _ := operator(k)
			if f.Name != name || f.Make == nil {
				continue
			}
			m, problem := f.Make(q, commas.Split(q.Query.Get(k), -1))
			switch {
			case problem != "" && name == "label_selector":
				selector = append(selector, problem)
			case problem != "":
				rest = append(rest, problem)
			case m != nil && op == "not" && f.Not:
				all = append(all, func(r R) bool { return !m(r) })
			case m != nil:
				all = append(all, m)
			}
		}
	}
	return all, selector, rest
}

// order reads a value of order_by: the name, with - before it for descending and perhaps + for ascending.
func (l *List[R]) order(by string) (o Order[R], down bool, problem string) {
	name, down := strings.CutPrefix(by, "-")
	if !down {
		name = strings.TrimPrefix(name, "+")
	}
	orders := l.Orders
	if !l.OnlyOrders {
		orders = append([]Order[R]{
			{"created_at", func(a, b R) int { return cmp.Compare(a.Head().Seq, b.Head().Seq) }},
			{"updated_at", func(a, b R) int { return a.Head().Updated.Compare(b.Head().Updated) }},
		}, orders...)
	}
	var names []string
	for _, o := range orders {
		if o.Name == name {
			return o, down, ""
		}
		names = append(names, "'"+o.Name+"'")
	}
	return Order[R]{}, false, "Order by can only be: " + strings.Join(names, ", ")
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
	o, down, problem := l.order(by)
	if problem != "" {
		return "", l.fail(problem)
	}
	slices.SortFunc(rows, func(a, b R) int {
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
		return "-" + o.Name, nil
	}
	return "+" + o.Name, nil
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

func (q *Req) page() (page, perPage int, problems []string) {
	read := func(key, label string, fallback int) int {
		s, ok := q.Query[key]
		if !ok {
			return fallback
		}
		n := leadingInt(s[0])
		if n < 1 {
			problems = append(problems, label+" must be a positive integer")
		}
		return n
	}
	page, perPage = read("page", "Page", 1), read("per_page", "Per page", defaultPerPage)
	if perPage > maxPerPage {
		problems = append(problems, "Per page must be between 1 and 5000")
	}
	return page, perPage, problems
}

var digits = regexp.MustCompile(`\A\s*\+?(\d{1,9})`)

// leadingInt is the number that a text begins with, as the controller reads it ("5x" is 5), else 0.
func leadingInt(s string) int {
	m := digits.FindStringSubmatch(s)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

const stamp = "2006-01-02T15:04:05Z"

// Stamp is how the controller writes a time: whole seconds, UTC.
func Stamp(t time.Time) string { return t.UTC().Format(stamp) }

func timeFilter(name, op string, values []string) (match func(time.Time) bool, problems []string) {
	label := Human(name)
	switch op {
	case "", "lt", "lte", "gt", "gte":
	default:
		problems = append(problems, fmt.Sprintf("%s Invalid relational operator: '%s'", label, op))
	}
	if op != "" && len(values) > 1 {
		return nil, append(problems, label+" only accepts one value when using a relational operator")
	}
	var ts []int64
	for _, v := range values {
		t, err := time.Parse(stamp, v)
		if err != nil {
			problems = append(problems, label+" has an invalid timestamp format. Timestamps should be formatted as 'YYYY-MM-DDThh:mm:ssZ'")
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
	}, problems
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
