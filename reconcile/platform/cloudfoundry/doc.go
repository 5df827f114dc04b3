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
//	/v3/service_instances?space_guids         service instances with plans and offerings; only if services are declared
//	…/:guid/credentials                       one for each user-provided instance whose credentials are declared; leaves an audit event
//	…/:guid/relationships/shared_spaces       one for each instance whose shares are declared
//	/v3/service_credential_bindings?type=key  keys, if any is declared; /v3/service_route_bindings likewise
//	/v3/service_credential_bindings?app_guids bindings, with the instances that they lead to (no filter by space exists)
//	/v3/droplets?guids                        which package the current droplet was made of
//	/v3/packages?guids                        docker image, and in an annotation of ours the digest of the files
//	/v3/apps/:guid/manifest                   environment, features, commands, sidecars, buildpacks with credentials
//	/v3/revisions/:guid                       one, and one for …/environment_variables, which leaves an audit event, where an app
//	                                          seems to have configuration that no instance has seen (running.go)
//
// The generated manifest is preferred to four requests of its own (environment_variables, features, sidecars,
// processes/:guid), one of which would leave an audit event at every look. A role that may not read manifests gets features
// and sidecars by themselves; the rest is reported as unobservable.
//
// [Driver.ServerDiff], which nobody has to call, makes one POST /v3/spaces/:guid/manifest_diff per space.
//
// Not read: weights of destinations, tasks, and what service brokers return of parameters (see below).
//
// # What is written, and in which order
//
// A step of a plan is one app with all that hangs on it, or one route where it is not the business of one app
// (planner.routeSteps says when). A step that has nothing to say to the platform makes no request;
// beside polling, the first deployment of an app with a route takes 8 and a change of its configuration 3:
//
//	request                                         when
//	POST  spaces/:guid/actions/apply_manifest       something is added or changed; with it the notes of what is owned and pending
//	GET   apps?names                                the app is new, and its guid not known yet
//	PATCH apps/:guid/environment_variables          a variable is no longer declared (DELETE for a sidecar or a binding)
//	POST  service_credential_bindings               a binding with parameters or metadata, which a manifest cannot make whole;
//	                                                DELETE before it where the name or the parameters changed
//	PATCH service_credential_bindings/:guid         its metadata
//	GET   packages, builds                          the code changed: is it there already?
//	POST  resource_matches                          the files that may be known already are 1 MiB or more
//	POST  packages, packages/:guid/upload, builds   it is not
//	POST  droplets, PATCH droplets/:guid, upload    instead of these, for a droplet that was staged elsewhere
//	PATCH apps/:guid/relationships/current_droplet  the app does not run
//	POST  apps/:guid/actions/start
//	POST  deployments                               it runs, and instances have to be replaced
//	DELETE routes/:guid/destinations/:guid          no longer declared; this late, because until here there is a way back
//	GET, PATCH processes/:guid                      labels and annotations of a process
//	PATCH apps/:guid                                nothing is pending any more
//	DELETE apps/:guid                               the app is pruned; its routes, where they are too, went before it
//
//	GET   domains?names; POST routes                a route that no manifest of an app could create
//	PATCH routes/:guid                              options, metadata
//	DELETE routes/:guid, …/destinations/:guid       pruned, or unmapped: after the apps have what takes its place
//
// Service instances, keys and route bindings are steps of their own (service_plan.go), each begun with what the plan saw and
// read again when the controller's answer shows that it is no longer so:
//
//	GET   service_plans; POST service_instances     an instance is new; …/relationships/shared_spaces where it is shared
//	PATCH service_instances/:guid                   all that changed of it, in one request; the version by itself after a plan
//	PATCH apps/:guid                                before it, for each running app that sees the change only after a restart
//	POST, PATCH, DELETE service_credential_bindings of type key; service_route_bindings likewise
//	DELETE service_instances/:guid                  pruned, and bound to nothing
//	DELETE …/relationships/shared_spaces/:guid      no longer declared, and no app there is bound
//	GET   jobs/:guid                                a service broker takes its time
//
// A run may be killed after any of them; appRun says what makes the next one complete it. No package and no droplet is
// ever deleted.
//
// # What stands on the resources themselves
//
// Fettle keeps no book of its own about a foundation: annotations on the app tell what was applied before (ledger.go) and
// whether a change waits for a restart, and what runs (running.go); an annotation on the package, on its builds and on an uploaded
// droplet tells which code it holds.
//
// Parameters of services are taken and, by most brokers, never given back. Their seal (package diff) stands on what was made with
// them, written by the request that hands them over: service_seal.go. So a change in Git is seen, and applied: in
// place to an instance, by making it anew to a binding or a key. What bears no seal was made by somebody else, and a seal of
// another key cannot be checked: both are reported as unobserved.
//
// # What is Fettle's own
//
// Only what is Fettle's own as a whole is deleted, and only where its kind is pruned (manifest.Set.Pruned):
//
//   - an app with a ledger: Fettle created it, or took it over when it first applied a manifest to it or was told to
//     (Own, fettle adopt);
//   - a route with a mark (the annotation "applied" on it), provided that every destination is in the ledger of its app;
//   - a route without a mark, as manifests of version 1 create them, if it leads somewhere and every destination is in the
//     ledger of its app. One that leads nowhere and has no mark is nobody's, and stays.
//
// The ledger of an undeclared app counts only where apps are pruned; else the app and its routes are left alone.
package cloudfoundry
