package services

import (
	"net/url"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/usage"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/vcap"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerInstances(s *cc.Server) {
	s.Read("GET /v3/service_instances", listInstances)
	s.Write("POST /v3/service_instances", createInstance)
	s.Read("GET /v3/service_instances/{guid}", showInstance)
	s.Write("PATCH /v3/service_instances/{guid}", updateInstance)
	s.Write("DELETE /v3/service_instances/{guid}", deleteInstance)
	s.Write("GET /v3/service_instances/{guid}/credentials", showCredentials)
	s.Read("GET /v3/service_instances/{guid}/parameters", instanceParameters)
	s.Read("GET /v3/service_instances/{guid}/permissions", showPermissions)
	s.BeforeDelete("space", deprovisionAll)
	s.OnDelete("space", func(tx *cc.Tx, space string) {
		for _, si := range tx.W.ServiceInstances.By("space", space) {
			RemoveInstance(tx, si)
		}
	})
}

var instances = &cc.List[*world.ServiceInstance]{
	Filters: []cc.Filter[*world.ServiceInstance]{
		cc.In("type", func(_ *cc.Req, si *world.ServiceInstance) string { return si.Type }),
		cc.FieldsParam[*world.ServiceInstance](listFields),
		cc.Fold("names", func(_ *cc.Req, si *world.ServiceInstance) string { return si.Name }),
		cc.Any("space_guids", func(_ *cc.Req, si *world.ServiceInstance) []string { return visibleIn(si) }),
		cc.Any("organization_guids", func(q *cc.Req, si *world.ServiceInstance) []string {
			var orgs []string
			for _, space := range visibleIn(si) {
				orgs = append(orgs, apps.OrgOf(&q.Tx, space))
			}
			return orgs
		}),
		cc.In("service_plan_guids", func(_ *cc.Req, si *world.ServiceInstance) string { return si.Plan }),
		cc.In("service_plan_names", func(q *cc.Req, si *world.ServiceInstance) string { return planOf(&q.Tx, si).Name }),
		cc.Labels[*world.ServiceInstance](),
	},
	Orders: []cc.Order[*world.ServiceInstance]{{Name: "name", Compare: func(a, b *world.ServiceInstance) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, si *world.ServiceInstance) any { return PresentInstance(q, si) },
	Extra:  includedInstances,
}

// visibleIn lists the space of an instance and those that it is shared with.
func visibleIn(si *world.ServiceInstance) []string {
	return append([]string{si.Space}, si.SharedSpaces...)
}

func listInstances(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return instances.Answer(q, q.W.ServiceInstances.All(), func(si *world.ServiceInstance) bool { return sharedWith(si, sees.Space) })
}

// PresentInstance shows a service instance.
func PresentInstance(q *cc.Req, si *world.ServiceInstance) tree.Obj {
	self := "/v3/service_instances/" + si.GUID
	tags := si.Tags
	if tags == nil {
		tags = []string{}
	}
	out := cc.Head(&si.Base, "name", si.Name, "tags", tags, "last_operation", presentOperation(si.LastOperation, true), "type", si.Type,
		"syslog_drain_url", cc.OrNil(si.SyslogDrainURL), "route_service_url", cc.OrNil(si.RouteServiceURL),
		"relationships", tree.O("space", cc.One(si.Space)), "metadata", cc.Meta(&si.Base),
		"links", tree.O("self", q.Link(self), "space", q.Link("/v3/spaces/"+si.Space),
			"service_credential_bindings", q.Link("/v3/service_credential_bindings?service_instance_guids="+si.GUID),
			"service_route_bindings", q.Link("/v3/service_route_bindings?service_instance_guids="+si.GUID),
			"credentials", q.Link(self+"/credentials")))
	if si.Type == Managed {
		return presentManaged(q, si, out)
	}
	return out
}

func find(q *cc.Req) (*world.ServiceInstance, error) {
	si, ok := q.W.ServiceInstances.Get(q.Var("guid"))
	if !ok || !sharedWith(si, q.ReadsSpace) {
		return nil, cc.NotFound("Service instance")
	}
	return si, nil
}

func showInstance(q *cc.Req) (*cc.Reply, error) {
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	if p := q.FieldsProblem(showFields); p != "" {
		return nil, cc.BadQuery(p)
	}
	o := PresentInstance(q, si)
	if inc := includedInstances(q, []*world.ServiceInstance{si}); inc != nil {
		o.Set("included", inc)
	}
	return cc.OK(o), nil
}

// readInstance checks the fields of a user-provided instance and sets those that are given.
func readInstance(b *cc.Body, si *world.ServiceInstance) {
	if v, ok := b.Lookup("credentials"); ok && v != nil {
		c, isObj := v.(tree.Obj)
		if !isObj {
			b.Add("Credentials must be an object")
		}
		si.Credentials = tree.JSON(compact(c))
	}
	if v, ok := b.Lookup("syslog_drain_url"); ok {
		si.SyslogDrainURL = readURL(b, v, "Syslog drain url")
	}
	if v, ok := b.Lookup("route_service_url"); ok {
		u := readURL(b, v, "Route service url")
		if u != "" && !strings.HasPrefix(u, "https://") {
			b.Add("Route service url must be https")
		}
		si.RouteServiceURL = u
	}
	readTags(b, si)
}

func readURL(b *cc.Body, v any, label string) string {
	if v == nil {
		return ""
	}
	s, _ := v.(string)
	if u, err := url.Parse(s); err != nil || u.Scheme == "" && s != "" || strings.Contains(s, " ") {
		b.Add("%s must be a valid URI", label)
		return ""
	}
	return s
}

func readTags(b *cc.Body, si *world.ServiceInstance) {
	v, ok := b.Lookup("tags")
	if !ok {
		return
	}
	l, isList := v.([]any)
	tags := []string{}
	for _, e := range l {
		s, isText := e.(string)
		isList = isList && isText
		tags = append(tags, s)
	}
	if !isList {
		b.Add("Tags must be a list of strings")
	}
	si.Tags = tags
}

func createInstance(q *cc.Req) (*cc.Reply, error) {
	o, err := q.JSON()
	if err != nil {
		return nil, err
	}
	switch o.Get("type") {
	case UserProvided:
	case "managed":
		return createManaged(q)
	default:
		b := cc.NewBody(o, "type", "name", "tags", "relationships", "metadata", "credentials", "syslog_drain_url", "route_service_url", "parameters")
		b.Add("Type must be one of 'managed', 'user-provided'")
		return nil, b.Err()
	}
	b := cc.NewBody(o, "type", "name", "tags", "relationships", "metadata", "credentials", "syslog_drain_url", "route_service_url")
	rel := b.Relationships([]string{"space"})
	si := &world.ServiceInstance{Base: q.W.Base(), Type: UserProvided, LastOperation: succeeded(&q.Tx, "create", "Operation succeeded")}
	readName(b, si, true)
	readInstance(b, si)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	sp, err := q.BodySpace(cc.RelGUID(rel, "space"))
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(sp.GUID); err != nil {
		return nil, err
	}
	if err := q.Feature("service_instance_creation"); err != nil {
		return nil, err
	}
	if taken(&q.Tx, sp.GUID, si) {
		return nil, cc.Unprocessable("The service instance name is taken: %s.", si.Name)
	}
	if err := m.Check(&si.Base); err != nil {
		return nil, err
	}
	m.Apply(&si.Base)
	si.Space = sp.GUID
	q.W.ServiceInstances.Insert(si)
	usage.Service(&q.Tx, si, "CREATED")
	auditInstance(&q.Tx, si, "create", redacted(b.Obj))
	return cc.Created(PresentInstance(q, si)), nil
}

func taken(tx *cc.Tx, space string, si *world.ServiceInstance) bool {
	for _, other := range tx.W.ServiceInstances.By("space", space) {
		if other != si && lower(other.Name) == lower(si.Name) {
			return true
		}
	}
	return false
}

func redacted(o tree.Obj) tree.Obj {
	o = o.Clone()
	if o.Has("credentials") {
		o.Set("credentials", Redacted)
	}
	return o
}

func readName(b *cc.Body, si *world.ServiceInstance, create bool) {
	v, ok := b.Lookup("name")
	if !ok && !create {
		return
	}
	s, isText := v.(string)
	if !isText {
		b.Add("Name must be a string")
	}
	if s == "" {
		b.Add("Name can't be blank")
	}
	if len([]rune(s)) > 255 {
		b.Add("Name is too long (maximum is 255 characters)")
	}
	si.Name = s
}

func updateInstance(q *cc.Req) (*cc.Reply, error) {
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(si.Space); err != nil {
		return nil, err
	}
	if si.Type != UserProvided {
		return updateManaged(q, si)
	}
	b, err := q.Body("name", "tags", "metadata", "credentials", "syslog_drain_url", "route_service_url")
	if err != nil {
		return nil, err
	}
	after := *si
	readName(b, &after, false)
	readInstance(b, &after)
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	for _, other := range q.W.ServiceInstances.By("space", si.Space) {
		if other != si && lower(other.Name) == lower(after.Name) {
			return nil, cc.Unprocessable("The service instance name is taken: %s.", after.Name)
		}
	}
	if err := m.Check(&si.Base); err != nil {
		return nil, err
	}
	auditInstance(&q.Tx, si, "update", redacted(b.Obj)) // under the former name (observed fact)
	created, renamed := si.LastOperation.Updated.Created, si.Name != after.Name
	*si = after
	if renamed {
		usage.Service(&q.Tx, si, "UPDATED")
	}
	si.LastOperation = succeeded(&q.Tx, "update", "Operation succeeded")
	si.LastOperation.Updated.Created = created
	m.Apply(&si.Base)
	q.Touch(&si.Base)
	return cc.OK(PresentInstance(q, si)), nil
}

func deleteInstance(q *cc.Req) (*cc.Reply, error) {
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(si.Space); err != nil {
		return nil, err
	}
	if si.Type != UserProvided {
		return deleteManaged(q, si)
	}
	if q.Query.Get("purge") == "true" {
		purge(&q.Tx, si)
		return cc.NoContent(), nil
	}
	RemoveInstance(&q.Tx, si)
	return cc.NoContent(), nil
}

// RemoveInstance takes an instance away with its bindings, their events first.
func RemoveInstance(tx *cc.Tx, si *world.ServiceInstance) {
	for _, b := range tx.W.RouteBindings.By("instance", si.GUID) {
		removeRouteBinding(tx, b)
	}
	for _, b := range tx.W.ServiceBindings.By("instance", si.GUID) {
		RemoveBinding(tx, b)
	}
	auditInstance(tx, si, "delete", nil)
	tx.W.ServiceInstances.Delete(si.GUID)
	usage.Service(tx, si, "DELETED")
}

func showCredentials(q *cc.Req) (*cc.Reply, error) {
	si, err := find(q)
	if err != nil {
		return nil, err
	}
	if !q.Secrets(si.Space) && !q.HasSpaceRole(si.Space, world.SpaceManager) {
		return nil, cc.NotAuthorized()
	}
	if si.Type != UserProvided {
		return nil, cc.NotFound("Service instance")
	}
	auditInstance(&q.Tx, si, "show", nil)
	return cc.OK(vcap.Credentials(si.Credentials)), nil
}

func showPermissions(q *cc.Req) (*cc.Reply, error) {
	si, ok := q.W.ServiceInstances.Get(q.Var("guid"))
	if !ok {
		return nil, cc.NotFound("Service instance")
	}
	return cc.OK(tree.O("manage", q.MayWriteSpace(si.Space) == nil, "read", sharedWith(si, q.ReadsSpace))), nil
}
