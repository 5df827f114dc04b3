package services

import (
	"cmp"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/vcap"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerBindings(s *cc.Server) {
	s.Read("GET /v3/service_credential_bindings", listBindings)
	s.Write("POST /v3/service_credential_bindings", createBinding)
	s.Read("GET /v3/service_credential_bindings/{guid}", showBinding)
	s.Write("PATCH /v3/service_credential_bindings/{guid}", updateBinding)
	s.Write("DELETE /v3/service_credential_bindings/{guid}", deleteBinding)
	s.Write("GET /v3/service_credential_bindings/{guid}/details", bindingDetails)
	s.Read("GET /v3/service_credential_bindings/{guid}/parameters", bindingParameters)
	s.OnDelete("app", func(tx *cc.Tx, app string) {
		for _, b := range tx.W.ServiceBindings.By("app", app) {
			RemoveBinding(tx, b)
		}
	})
}

func instanceOf(q *cc.Req, guid string) *world.ServiceInstance {
	si, ok := q.W.ServiceInstances.Get(guid)
	if !ok {
		return &world.ServiceInstance{}
	}
	return si
}

var bindings = &cc.List[*world.ServiceBinding]{
	Filters: []cc.Filter[*world.ServiceBinding]{
		cc.In("names", func(_ *cc.Req, b *world.ServiceBinding) string { return b.Name }),
		cc.In("service_instance_guids", func(_ *cc.Req, b *world.ServiceBinding) string { return b.ServiceInstance }),
		cc.In("service_instance_names", func(q *cc.Req, b *world.ServiceBinding) string { return instanceOf(q, b.ServiceInstance).Name }),
		cc.In("service_plan_names", func(q *cc.Req, b *world.ServiceBinding) string {
			return planOf(&q.Tx, instanceOf(q, b.ServiceInstance)).Name
		}),
		cc.In("service_plan_guids", func(q *cc.Req, b *world.ServiceBinding) string { return instanceOf(q, b.ServiceInstance).Plan }),
		cc.In("service_offering_names", func(q *cc.Req, b *world.ServiceBinding) string {
			return offeringOf(&q.Tx, instanceOf(q, b.ServiceInstance)).Name
		}),
		cc.In("service_offering_guids", func(q *cc.Req, b *world.ServiceBinding) string {
			return planOf(&q.Tx, instanceOf(q, b.ServiceInstance)).Offering
		}),
		cc.In("app_guids", func(_ *cc.Req, b *world.ServiceBinding) string { return b.App }),
		cc.In("app_names", func(q *cc.Req, b *world.ServiceBinding) string {
			if a, ok := q.W.Apps.Get(b.App); ok {
				return a.Name
			}
			return ""
		}),
		cc.Include[*world.ServiceBinding]("app", "service_instance"),
		cc.In("type", func(_ *cc.Req, b *world.ServiceBinding) string { return b.Type }),
		cc.Labels[*world.ServiceBinding](),
	},
	Show:     func(q *cc.Req, b *world.ServiceBinding) any { return presentBinding(q, b) },
	Included: includedBindings,
}

func includedBindings(q *cc.Req, include []string, rows []*world.ServiceBinding) tree.Obj {
	out := tree.Obj{}
	for _, i := range include {
		seen, list := map[string]bool{}, []any{}
		for _, b := range rows {
			if i == "app" {
				if a, ok := q.W.Apps.Get(b.App); ok && !seen[b.App] {
					seen[b.App] = true
					list = append(list, apps.Present(q, a))
				}
			} else if si, ok := q.W.ServiceInstances.Get(b.ServiceInstance); ok && !seen[si.GUID] {
				seen[si.GUID] = true
				list = append(list, PresentInstance(q, si))
			}
		}
		out.Set(i+"s", list)
	}
	return out
}

func listBindings(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return bindings.Answer(q, q.W.ServiceBindings.All(), func(b *world.ServiceBinding) bool {
		return sees.Space(spaceOf(&q.Tx, b))
	})
}

// spaceOf is the space in which a binding is: that of its app, which may be another than that of a shared instance.
func spaceOf(tx *cc.Tx, b *world.ServiceBinding) string {
	if a, ok := tx.W.Apps.Get(b.App); ok {
		return a.Space
	}
	if si, ok := tx.W.ServiceInstances.Get(b.ServiceInstance); ok {
		return si.Space
	}
	return ""
}

func presentBinding(q *cc.Req, b *world.ServiceBinding) tree.Obj {
	self := "/v3/service_credential_bindings/" + b.GUID
	rel := tree.O("service_instance", cc.One(b.ServiceInstance))
	links := tree.O("self", q.Link(self), "details", q.Link(self+"/details"), "service_instance", q.Link("/v3/service_instances/"+b.ServiceInstance))
	if instanceOf(q, b.ServiceInstance).Type == Managed {
		links.Set("parameters", q.Link(self+"/parameters"))
	}
	if b.App != "" {
		rel.Set("app", cc.One(b.App))
		links.Set("app", q.Link("/v3/apps/"+b.App))
	}
	return cc.Head(&b.Base, "name", cc.OrNil(b.Name), "type", b.Type, "last_operation", presentOperation(b.LastOperation, false),
		"metadata", cc.Meta(&b.Base), "relationships", rel, "links", links)
}

func findBinding(q *cc.Req) (*world.ServiceBinding, *world.ServiceInstance, error) {
	b, ok := q.W.ServiceBindings.Get(q.Var("guid"))
	if ok {
		if si, ok := q.W.ServiceInstances.Get(b.ServiceInstance); ok && q.ReadsSpace(spaceOf(&q.Tx, b)) {
			return b, si, nil
		}
	}
	return nil, nil, cc.NotFound("Service credential binding")
}

func showBinding(q *cc.Req) (*cc.Reply, error) {
	b, _, err := findBinding(q)
	if err != nil {
		return nil, err
	}
	inc := q.Included()
	if p := cc.IncludeProblem(inc, "app", "service_instance"); p != "" {
		return nil, cc.BadQuery(p)
	}
	o := presentBinding(q, b)
	if inc != nil {
		o.Set("included", includedBindings(q, inc, []*world.ServiceBinding{b}))
	}
	return cc.OK(o), nil
}

func createBinding(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("type", "name", "relationships", "parameters", "metadata", "strategy")
	if err != nil {
		return nil, err
	}
	typ, _ := b.Str("type")
	need := []string{"service_instance"}
	if typ == "app" {
		need = append(need, "app")
	}
	rel := b.Relationships(need, "app")
	name, isText := b.Str("name")
	switch {
	case typ != "app" && typ != "key":
		b.Add("Type must be 'app' or 'key'")
	case typ == "key" || b.Get("name") != nil:
		if !isText {
			b.Add("Name must be a string")
		}
		if name == "" {
			b.Add("Name can't be blank")
		}
	}
	if len(name) > 255 {
		b.Add("Name must be between 1 and 255 characters")
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	guid := cc.RelGUID(rel, "service_instance")
	si, ok := q.W.ServiceInstances.Get(guid)
	if !ok || !sharedWith(si, q.ReadsSpace) {
		return nil, cc.Unprocessable("The service instance could not be found: '%s'", guid)
	}
	if typ == "key" {
		return createKey(q, b, si, name, m)
	}
	app := cc.RelGUID(rel, "app")
	a, err := apps.Visible(q, app)
	if err != nil {
		return nil, cc.Unprocessable("The app could not be found: '%s'", app)
	}
	if err := q.MayWriteSpace(a.Space, world.SpaceDeveloper, world.SpaceSupporter); err != nil {
		return nil, err
	}
	if si.Type != UserProvided {
		return bindManaged(q, b, si, a, name, m)
	}
	if b.Has("parameters") && b.Get("parameters") != nil {
		return nil, cc.Unprocessable("Binding parameters are not supported for user-provided service instances")
	}
	if a.Space != si.Space {
		return nil, cc.Unprocessable("The service instance and the app are in different spaces")
	}
	if err := bindable(&q.Tx, si, a, name); err != nil {
		return nil, err
	}
	if err := m.Check(&world.Base{}); err != nil {
		return nil, err
	}
	sb := bind(&q.Tx, si, a, name)
	m.Apply(&sb.Base)
	auditBinding(&q.Tx, sb, "create", b.Obj, false)
	return cc.Created(presentBinding(q, sb)), nil
}

func createKey(q *cc.Req, b *cc.Body, si *world.ServiceInstance, name string, m cc.Metadata) (*cc.Reply, error) {
	if err := q.MayWriteSpace(si.Space); err != nil {
		return nil, err
	}
	if si.Type == UserProvided {
		return nil, cc.Unprocessable("Service credential bindings of type 'key' are not supported for user-provided service instances.")
	}
	return keyOfManaged(q, b, si, name, m)
}

func bindable(tx *cc.Tx, si *world.ServiceInstance, a *world.App, name string) error {
	for _, b := range tx.W.ServiceBindings.By("app", a.GUID) {
		if b.ServiceInstance == si.GUID {
			return cc.Unprocessable("The app is already bound to the service instance")
		}
		if name != "" && b.Name == name {
			return cc.Unprocessable("The binding name is invalid. App binding names must be unique. The app already has a binding with name '%s'.", name)
		}
	}
	return nil
}

func bind(tx *cc.Tx, si *world.ServiceInstance, a *world.App, name string) *world.ServiceBinding {
	b := &world.ServiceBinding{Base: tx.W.Base(), Type: "app", Name: name, ServiceInstance: si.GUID, App: a.GUID, LastOperation: succeeded(tx, "create", "")}
	tx.W.ServiceBindings.Insert(b)
	return b
}

// BindApp is what a manifest does: an instance that is bound already is left alone.
func BindApp(tx *cc.Tx, si *world.ServiceInstance, a *world.App, name string, parameters any, manifest bool) error {
	for _, b := range tx.W.ServiceBindings.By("app", a.GUID) {
		if b.ServiceInstance != si.GUID {
			continue
		}
		switch l := b.LastOperation; {
		case busy(l):
			return cc.Unprocessable("A binding is being %sd. Retry this operation later.", l.Type)
		case l.Type == "delete" && l.State == osb.Failed:
			return cc.Unprocessable("A binding failed to be deleted. Resolve the issue with this binding before retrying this operation.")
		}
		return nil
	}
	if err := bindable(tx, si, a, name); err != nil {
		return err
	}
	request := tree.O("type", "app", "name", cc.OrNil(name), "relationships", tree.O("service_instance", cc.One(si.GUID), "app", cc.One(a.GUID)))
	if parameters != nil {
		request.Set("parameters", apps.Hidden)
	}
	if si.Type == Managed {
		return bindFromManifest(tx, si, a, name, parameters, request)
	}
	auditBinding(tx, bind(tx, si, a, name), "create", request, manifest)
	return nil
}

func auditBinding(tx *cc.Tx, b *world.ServiceBinding, what string, request any, manifest bool) {
	kind := "service_binding"
	if b.Type == "key" {
		kind = "service_key"
	}
	tx.Audit("audit."+kind+"."+what, world.Target{GUID: b.GUID, Type: kind, Name: b.Name}, spaceOf(tx, b), "", apps.Triggered(tree.O("request", request), manifest))
}

// RemoveBinding takes a binding away.
func RemoveBinding(tx *cc.Tx, b *world.ServiceBinding) {
	auditBinding(tx, b, "delete", tree.O("app_guid", cc.OrNil(b.App), "route_guid", nil, "service_instance_guid", b.ServiceInstance), false)
	tx.W.ServiceBindings.Delete(b.GUID)
}

func updateBinding(q *cc.Req) (*cc.Reply, error) {
	b, _, err := findBinding(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(spaceOf(&q.Tx, b)); err != nil {
		return nil, err
	}
	if b.LastOperation.Type == "delete" && busy(b.LastOperation) {
		return nil, cc.Unprocessable("The service binding is being deleted")
	}
	body, err := q.Body("metadata")
	if err != nil {
		return nil, err
	}
	m := body.Metadata()
	if err := body.Err(); err != nil {
		return nil, err
	}
	if err := m.Check(&b.Base); err != nil {
		return nil, err
	}
	m.Apply(&b.Base)
	q.Touch(&b.Base)
	auditBinding(&q.Tx, b, "update", body.Obj, false)
	return cc.OK(presentBinding(q, b)), nil
}

func deleteBinding(q *cc.Req) (*cc.Reply, error) {
	b, si, err := findBinding(q)
	if err != nil {
		return nil, err
	}
	roles := []string{world.SpaceDeveloper}
	if b.Type == "app" {
		roles = append(roles, world.SpaceSupporter)
	}
	if err := q.MayWriteSpace(spaceOf(&q.Tx, b), roles...); err != nil {
		return nil, err
	}
	if si.Type == Managed {
		return unbindManaged(q, si, credentialBinding{b})
	}
	RemoveBinding(&q.Tx, b)
	return cc.NoContent(), nil
}

func bindingDetails(q *cc.Req) (*cc.Reply, error) {
	b, si, err := findBinding(q)
	if err != nil {
		return nil, err
	}
	if !q.Secrets(spaceOf(&q.Tx, b)) {
		return nil, cc.NotFound("Service credential binding")
	}
	if err := created(bindingWord(b), b.LastOperation); err != nil {
		return nil, err
	}
	auditBinding(&q.Tx, b, "show", tree.O("service_instance_guid", b.ServiceInstance, "app_guid", cc.OrNil(b.App)), false)
	credentials := b.Credentials
	if si.Type == UserProvided {
		credentials = si.Credentials // a change of the instance shows at once
	}
	o := tree.O("credentials", vcap.Credentials(credentials))
	if drain := cmp.Or(b.SyslogDrainURL, si.SyslogDrainURL); drain != "" {
		o.Set("syslog_drain_url", drain)
	}
	if len(b.VolumeMounts) > 0 {
		o.Set("volume_mounts", b.VolumeMounts)
	}
	return cc.OK(o), nil
}
