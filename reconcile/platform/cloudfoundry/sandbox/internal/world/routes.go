package world

// Route is an address of a space.
type Route struct {
	Base
	Space        string            `json:"space"`
	Domain       string            `json:"domain"`
	Host         string            `json:"host,omitempty"`
	Path         string            `json:"path,omitempty"`
	Port         *int              `json:"port,omitempty"`
	Options      map[string]string `json:"options,omitempty"`
	SharedSpaces []string          `json:"shared_spaces,omitempty"`
}

// Destination maps a route to a process type of an app.
type Destination struct {
	Base
	Route    string `json:"route"`
	App      string `json:"app"`
	Process  string `json:"process"`
	Port     *int   `json:"port,omitempty"` // nil is the default, 8080 for buildpack apps
	Weight   *int   `json:"weight,omitempty"`
	Protocol string `json:"protocol"`
}
