// Package cloudfoundry is the driver for Cloud Foundry: it turns what the V3 API says into the canonical form of package
// manifest, and changes of that form into V3 requests.
//
// # What is read, and where
//
// Cost is counted in requests, because foundations limit them. One observation of n declared apps, whatever the
// number of spaces, takes 6 requests for all spaces together, 3 for every 200 declared apps, and n for what no list carries:
//
//	GET                                       carries
//	/v3/organizations?names                   guids of organizations
//	/v3/spaces?names&organization_guids       guids of spaces
//	/v3/apps?space_guids                      names, state, lifecycle, labels, annotations, current droplet,
//	                                          and in annotations of ours what was applied and what is pending
//	/v3/processes?space_guids                 types, instances, sizes, users, health checks; commands are hidden here
//	/v3/routes?space_guids                    routes, options, destinations
//	/v3/deployments?status_values=ACTIVE      which apps are being rolled out (no filter by space exists)
//	/v3/service_instances?space_guids         guids of service instances; only if bindings are declared
//	/v3/service_credential_bindings?app_guids bindings, with the instances that they lead to (no filter by space exists)
//	/v3/droplets?guids                        which package the current droplet was made of
//	/v3/packages?guids                        docker image, and in an annotation of ours the digest of the files
//	/v3/apps/:guid/manifest                   environment, features, commands, sidecars, buildpacks with credentials
//
// The generated manifest is preferred to four requests of its own (environment_variables, features, sidecars,
// processes/:guid), one of which would leave an audit event at every look. A role that may not read manifests gets features
// and sidecars by themselves; the rest is reported as unobservable.
//
// Not read: routes of other spaces that are shared with this one, weights of destinations, tasks, revisions.
//
// # What stands on the resources themselves
//
// Fettle keeps no book of its own about a foundation: annotations on the app tell what was applied before (ledger.go) and
// whether a change waits for a restart, an annotation on the package tells which files it holds.
package cloudfoundry
