package apps

import (
	"fmt"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Admit says why a new app may not use its stack, which may be on its way out, or its buildpacks, which may still lack
// their bits; "" when it may. Apps that are there already are not asked.
func (l *Lifecycle) Admit(tx *cc.Tx) string {
	if l != nil && l.Type == world.Docker {
		return ""
	}
	name := DefaultStack(tx)
	if l != nil && l.Stack != nil && *l.Stack != "" {
		name = *l.Stack
	}
	if s := StackByName(tx, name); s != nil && (s.State == "RESTRICTED" || s.State == "DISABLED") {
		text := fmt.Sprintf("ERROR: Staging failed. The stack '%s' is '%s' and cannot be used for staging.", s.Name, s.State)
		if s.StateReason != "" {
			text += " " + s.StateReason
		}
		return text
	}
	if l == nil || l.Buildpacks == nil {
		return ""
	}
	for _, name := range *l.Buildpacks {
		for b := range tx.W.Buildpacks.All() {
			if b.Name == name {
				if b.Filename == "" {
					return fmt.Sprintf("%q must be in ready state", b.Name)
				}
				break
			}
		}
	}
	return ""
}
