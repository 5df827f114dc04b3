package services

import (
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// createManaged is for instances of a plan. There is no catalog yet, so no plan can be found.
func createManaged(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("type", "name", "tags", "relationships", "metadata", "parameters", "maintenance_info")
	if err != nil {
		return nil, err
	}
	rel := b.Relationships([]string{"space", "service_plan"})
	readName(b, &world.ServiceInstance{}, true)
	readTags(b, &world.ServiceInstance{})
	b.Metadata()
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
	return nil, cc.Unprocessable("Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.")
}

func updateManaged(*cc.Req, *world.ServiceInstance) (*cc.Reply, error) {
	return nil, cc.NotFound("Service instance")
}

func deleteManaged(*cc.Req, *world.ServiceInstance) (*cc.Reply, error) {
	return nil, cc.NotFound("Service instance")
}
