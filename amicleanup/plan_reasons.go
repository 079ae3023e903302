package amicleanup

import "slices"

// copying returns the images of which a copy is being made, in any target: EC2 still
// reads their snapshots.
func (inv *inventory) copying() map[string]string {
	sources := map[string]string{}
	for i := range inv.targets {
		for _, img := range inv.targets[i].images {
			if img.isCopy() && !img.settled() {
				sources[img.Source] = img.ID + " in " + inv.targets[i].target.region()
			}
		}
	}
	return sources
}

// untouchable returns the reasons why an image is left as it is.
func (e *evaluation) untouchable(img *Image) []string {
	var texts []string
	if len(e.policy.Keep) == 0 && len(e.policy.Remove) == 0 {
		texts = append(texts, "is under a policy without rules")
	}
	if !img.settled() {
		texts = append(texts, "is "+img.State)
	}
	if id := e.copying[img.ID]; id != "" {
		texts = append(texts, "is being copied to "+id)
	}
	if img.protected() && !e.policy.LiftProtection {
		texts = append(texts, "is protected from deregistration")
	}
	service := managedBy(img.Tags)
	if img.OwnerAlias == "aws-backup-vault" {
		service = "AWS Backup"
	}
	if service != "" {
		texts = append(texts, "is managed by "+service)
	}
	return texts
}

// demand drops reasons of age and number of an image that must go, unless there
// are others.
func (e *evaluation) demand(item *Item) {
	match := e.demands(item.Image)
	if match == "" || slices.ContainsFunc(item.Reasons, func(r Reason) bool { return !r.Retention }) {
		return
	}
	item.Reasons, item.Match, item.newest = nil, match, ""
}

// demands returns the name of what says that an image must go, or "".
func (e *evaluation) demands(img *Image) string {
	for _, m := range e.policy.Remove {
		if m.of(img, e.inv.time) {
			return m.String()
		}
	}
	return ""
}

// strongest drops the reasons that something is unknown or limited if there are
// others.
func strongest(reasons []Reason) []Reason {
	if slices.ContainsFunc(reasons, func(r Reason) bool { return !r.Blocked }) {
		return slices.DeleteFunc(reasons, func(r Reason) bool { return r.Blocked })
	}
	return reasons
}
