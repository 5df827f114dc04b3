package marketplace

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/osb"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerBrokers(s *cc.Server) {
	s.Read("GET /v3/service_brokers", listBrokers)
	s.Write("POST /v3/service_brokers", createBroker)
	s.Read("GET /v3/service_brokers/{guid}", showBroker)
	s.Write("PATCH /v3/service_brokers/{guid}", updateBroker)
	s.Write("DELETE /v3/service_brokers/{guid}", deleteBroker)
	s.Errand("broker.catalog", fetchCatalog)
	s.Job("service_broker.delete", func(tx *cc.Tx, j *world.Job) error {
		if b, ok := tx.W.ServiceBrokers.Get(j.Args["guid"]); ok {
			RemoveBroker(tx, b)
		}
		return nil
	})
}

var brokers = &cc.List[*world.ServiceBroker]{
	Filters: []cc.Filter[*world.ServiceBroker]{
		cc.In("space_guids", func(_ *cc.Req, b *world.ServiceBroker) string { return b.Space }),
		cc.Fold("names", func(_ *cc.Req, b *world.ServiceBroker) string { return b.Name }),
		cc.Labels[*world.ServiceBroker](),
	},
	Orders: []cc.Order[*world.ServiceBroker]{{Name: "name", Compare: func(a, b *world.ServiceBroker) int { return strings.Compare(a.Name, b.Name) }}},
	Show:   func(q *cc.Req, b *world.ServiceBroker) any { return presentBroker(q, b) },
}

func presentBroker(q *cc.Req, b *world.ServiceBroker) tree.Obj {
	rel, self := tree.Obj{}, "/v3/service_brokers/"+b.GUID
	links := tree.O("self", q.Link(self), "service_offerings", q.Link("/v3/service_offerings?service_broker_guids="+b.GUID))
	if b.Space != "" {
		rel.Set("space", cc.One(b.Space))
		links.Set("space", q.Link("/v3/spaces/"+b.Space))
	}
	return cc.Head(&b.Base, "name", b.Name, "url", b.URL, "relationships", rel, "metadata", cc.Meta(&b.Base), "links", links)
}

// seesBroker: who reads everything; developers and supporters of the space for which a broker is there.
func seesBroker(q *cc.Req, b *world.ServiceBroker) bool {
	return q.ReadsAll() || b.Space != "" && q.HasSpaceRole(b.Space, world.SpaceDeveloper, world.SpaceSupporter)
}

func listBrokers(q *cc.Req) (*cc.Reply, error) {
	return brokers.Answer(q, q.W.ServiceBrokers.All(), func(b *world.ServiceBroker) bool { return seesBroker(q, b) })
}

func showBroker(q *cc.Req) (*cc.Reply, error) {
	b, ok := q.W.ServiceBrokers.Get(q.Var("guid"))
	if !ok || !seesBroker(q, b) {
		return nil, cc.NotFound("Service broker")
	}
	return cc.OK(presentBroker(q, b)), nil
}

// writableBroker finds a broker that the caller may change.
func writableBroker(q *cc.Req) (*world.ServiceBroker, error) {
	b, ok := q.W.ServiceBrokers.Get(q.Var("guid"))
	if !ok || b.Space == "" && !q.ReadsAll() || b.Space != "" && !q.ReadsSpace(b.Space) {
		return nil, cc.NotFound("Service broker")
	}
	if b.Space != "" {
		return b, q.MayWriteSpace(b.Space)
	}
	return b, q.MayAdmin()
}

// readBroker reads name, URL and credentials into b. On an update only what is there is read.
func readBroker(b *cc.Body, into *world.ServiceBroker, create bool) {
	if v := b.Get("name"); create || v != nil {
		name, ok := v.(string)
		if !ok {
			b.Add("Name must be a string")
		}
		if v == "" {
			b.Add("Name must not be empty string")
		}
		into.Name = name
	}
	if v := b.Get("url"); create || v != nil {
		text, ok := v.(string)
		if !ok {
			b.Add("Url must be a string")
		}
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			b.Add("Url '%s' must be a valid url", text)
		case u.User != nil:
			b.Add("Url must not contain authentication")
		}
		into.URL = text
	}
	if v := b.Get("authentication"); create || v != nil {
		o, ok := v.(tree.Obj)
		if !ok {
			b.Add("Authentication must be an object")
			return
		}
		readCredentials(b, o, into)
	}
}

func readCredentials(b *cc.Body, auth tree.Obj, into *world.ServiceBroker) {
	if p := cc.UnknownFields(auth, "type", "credentials"); p != "" {
		b.Add("Authentication [%q]", p)
	}
	if auth.Get("type") != "basic" {
		b.Add(`Authentication ["authentication.type must be one of [\"basic\"]"]`)
	}
	o, ok := auth.Get("credentials").(tree.Obj)
	if !ok {
		b.Add(`Authentication ["must be an object"]`)
		return
	}
	var fields, texts []string
	if p := cc.UnknownFields(o, "username", "password"); p != "" {
		fields, texts = append(fields, "base"), append(texts, p)
	}
	for _, f := range []string{"username", "password"} {
		s, isText := o.Get(f).(string)
		n := len(texts)
		if !isText {
			texts = append(texts, cc.Human(f)+" must be a string")
		}
		if strings.TrimSpace(s) == "" {
			texts = append(texts, cc.Human(f)+" can't be blank")
		}
		if len(texts) > n {
			fields = append(fields, f)
		}
		if f == "username" {
			into.Username = s
		} else {
			into.Password = s
		}
	}
	if texts != nil {
		b.Add("Authentication Field(s) %s must be valid: %s", cc.Inspect(fields), cc.Inspect(texts))
	}
}

// censored is a request without the password, for the audit trail and for jobs.
func censored(o tree.Obj) tree.Obj {
	if o.Path("authentication", "credentials", "password") == nil {
		return o
	}
	out := o.Clone()
	cred := out.Path("authentication", "credentials").(tree.Obj)
	cred.Set("password", "[PRIVATE DATA HIDDEN]")
	return out
}

func brokerTarget(b *world.ServiceBroker) world.Target {
	return world.Target{GUID: b.GUID, Type: "service_broker", Name: b.Name}
}

func nameTaken(tx *cc.Tx, name string, self *world.ServiceBroker) bool {
	for b := range tx.W.ServiceBrokers.All() {
		if b != self && b.Name == name {
			return true
		}
	}
	return false
}

func createBroker(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("name", "url", "authentication", "relationships", "metadata")
	if err != nil {
		return nil, err
	}
	unknown := b.Problems
	b.Problems = nil
	m := b.Metadata()
	n := &world.ServiceBroker{Base: q.W.Base(), State: world.BrokerSynchronizing}
	readBroker(b, n, true)
	if b.Has("relationships") {
		if rel, ok := b.Related(); ok {
			if p := cc.UnknownFields(rel, "space"); p != "" {
				b.Add("Relationships %s", p)
			}
			n.Space = b.ToOne(rel, "space", true)
		}
	}
	b.Problems = append(b.Problems, unknown...) // the controller looks for them last here
	if err := b.Err(); err != nil {
		return nil, err
	}
	if n.Space != "" {
		if err := q.FeatureForAll("space_scoped_private_broker_creation"); err != nil {
			return nil, err
		}
		if _, err := q.BodySpace(n.Space); err != nil {
			return nil, err
		}
		if err := q.MayWriteSpace(n.Space); err != nil {
			return nil, err
		}
	} else if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	if nameTaken(&q.Tx, n.Name, nil) {
		return nil, cc.Unprocessable("Name must be unique")
	}
	if err := m.Check(&n.Base); err != nil {
		return nil, err
	}
	m.Apply(&n.Base)
	q.W.ServiceBrokers.Insert(n)
	q.Audit("audit.service_broker.create", brokerTarget(n), "", "", tree.O("request", censored(b.Obj)))
	j := q.StartJob(cc.JobSpec{
		Operation: "service_broker.catalog.synchronize", Link: "service_brokers", LinkPath: "/v3/service_brokers/" + n.GUID,
		Args: map[string]string{"guid": n.GUID}, Errand: "broker.catalog",
	})
	return cc.AcceptedJob(j), nil
}

func updateBroker(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("name", "url", "authentication", "metadata")
	if err != nil {
		return nil, err
	}
	unknown := b.Problems
	b.Problems = nil
	m := b.Metadata()
	var changed world.ServiceBroker
	readBroker(b, &changed, false)
	b.Problems = append(b.Problems, unknown...)
	if err := b.Err(); err != nil {
		return nil, err
	}
	n, err := writableBroker(q)
	if err != nil {
		return nil, err
	}
	if err := m.Check(&n.Base); err != nil {
		return nil, err
	}
	if !b.Has("name") && !b.Has("url") && !b.Has("authentication") {
		m.Apply(&n.Base)
		q.Touch(&n.Base)
		return cc.OK(presentBroker(q, n)), nil
	}
	if b.Has("name") && nameTaken(&q.Tx, changed.Name, n) {
		return nil, cc.Unprocessable("Name must be unique")
	}
	if n.State == world.BrokerSynchronizing || n.State == world.BrokerDeleting {
		return nil, cc.Unprocessable("Cannot update a broker when other operation is already in progress")
	}
	q.Audit("audit.service_broker.update", brokerTarget(n), "", "", tree.O("request", censored(b.Obj)))
	args := map[string]string{"guid": n.GUID, "was": n.State, "name": changed.Name, "url": changed.URL}
	if b.Get("authentication") != nil {
		args["username"], args["password"] = changed.Username, changed.Password
	}
	n.State = world.BrokerSynchronizing
	j := q.StartJob(cc.JobSpec{
		Operation: "service_broker.update", Link: "service_brokers", LinkPath: "/v3/service_brokers/" + n.GUID,
		Args: args, Payload: tree.JSON(tree.O("metadata", b.Get("metadata"))), Errand: "broker.catalog",
	})
	return cc.AcceptedJob(j), nil
}

// changedBy is the broker as an update job would have it.
func changedBy(b *world.ServiceBroker, j *world.Job) world.ServiceBroker {
	c := *b
	for key, field := range map[string]*string{"name": &c.Name, "url": &c.URL, "username": &c.Username, "password": &c.Password} {
		if v := j.Args[key]; v != "" {
			*field = v
		}
	}
	return c
}

// fetchCatalog asks a broker for its catalog, for its registration or an update. Only a new name needs no question.
func fetchCatalog(tx *cc.Tx, job string) func() func(*cc.Tx) {
	j, ok := tx.W.Jobs.Get(job)
	if !ok {
		return nil
	}
	gone := func(tx *cc.Tx) {
		tx.Finish(j, cc.NewError(422, 270011, "ServiceBrokerGone", "The service broker was removed before the synchronization completed"))
	}
	b, ok := tx.W.ServiceBrokers.Get(j.Args["guid"])
	if !ok {
		gone(tx)
		return nil
	}
	changed := changedBy(b, j)
	var ask osb.Broker
	if j.Operation != "service_broker.update" || j.Args["url"] != "" || j.Args["username"] != "" {
		ask = Broker(tx, &changed)
	}
	return func() func(*cc.Tx) {
		var c *osb.Catalog
		var err error
		if ask != nil {
			c, err = ask.Catalog(context.Background()) // it bounds its time itself
		}
		return func(tx *cc.Tx) {
			tx.Actor = j.Actor
			b, ok := tx.W.ServiceBrokers.Get(j.Args["guid"])
			if !ok {
				gone(tx)
				return
			}
			tx.Finish(j, applyCatalog(tx, b, j, c, err))
		}
	}
}

func applyCatalog(tx *cc.Tx, b *world.ServiceBroker, j *world.Job, c *osb.Catalog, err error) error {
	if err == nil && c != nil {
		if p := problems(c); p != "" {
			err = cc.NewError(502, 270012, "ServiceBrokerCatalogInvalid", "Service broker catalog is invalid: \n%s", p)
		}
	}
	if err != nil {
		b.State = world.BrokerFailed
		if was := j.Args["was"]; was != "" {
			b.State = was
		}
		var e *osb.Error
		if errors.As(err, &e) {
			return cc.NewError(502, 10001, "ServiceBrokerApiUnreachable", "%s", e.Text)
		}
		return err
	}
	*b = changedBy(b, j)
	if v, err := tree.Parse(j.Payload); err == nil {
		if o, ok := v.(tree.Obj); ok && o.Get("metadata") != nil {
			m, _ := cc.ReadMetadata(o.Get("metadata"))
			m.Apply(&b.Base)
		}
	}
	b.State = world.BrokerAvailable
	tx.Touch(&b.Base)
	if c != nil {
		store(tx, b, c)
	}
	return nil
}

// hasInstances reports whether anything of a broker is in use.
func hasInstances(tx *cc.Tx, b *world.ServiceBroker) bool {
	for _, o := range tx.W.ServiceOfferings.By("broker", b.GUID) {
		if slices.ContainsFunc(tx.W.ServicePlans.By("offering", o.GUID), func(p *world.ServicePlan) bool { return instances(tx, p.GUID) > 0 }) {
			return true
		}
	}
	return false
}

func deleteBroker(q *cc.Req) (*cc.Reply, error) {
	b, err := writableBroker(q)
	if err != nil {
		return nil, err
	}
	if hasInstances(&q.Tx, b) {
		return nil, cc.NewError(422, 270010, "ServiceBrokerNotRemovable", "Can not remove brokers that have associated service instances: %s", b.Name)
	}
	b.State = world.BrokerDeleting
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "service_broker.delete", Args: map[string]string{"guid": b.GUID}})), nil
}

// RemoveBroker takes a broker away with what it offers.
func RemoveBroker(tx *cc.Tx, b *world.ServiceBroker) {
	for _, o := range tx.W.ServiceOfferings.By("broker", b.GUID) {
		for _, p := range tx.W.ServicePlans.By("offering", o.GUID) {
			tx.W.ServicePlans.Delete(p.GUID)
		}
		tx.W.ServiceOfferings.Delete(o.GUID)
	}
	tx.W.ServiceBrokers.Delete(b.GUID)
	tx.Audit("audit.service_broker.delete", brokerTarget(b), "", "", tree.O("request", tree.Obj{}))
}
