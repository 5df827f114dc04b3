// Package examples holds the runnable examples as files, so that the demo and the tests work on exactly what people
// read. It holds no other code.
package examples

import "embed"

// FS is this folder. Embedding drops the executable bit: files that begin with "#!" are programs.
//
//go:embed all:shop all:docker all:every-attribute all:services all:rollout all:environments all:agent
var FS embed.FS
