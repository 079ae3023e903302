package inuse

// Coverage reports how reading a source in one target went.
type Coverage struct {
	Source     string `json:"source"`
	References int    `json:"references"`
	Error      string `json:"error,omitempty"` // why it is incomplete
}

// A StaleReference reports that a launch template, a parameter or something else
// names an image that is gone, disabled or deprecated. It should be pointed to
// another image.
type StaleReference struct {
	By      string `json:"by"`
	ImageID string `json:"image"`
	Why     string `json:"why"` // completes "its image …"
}
