package maintenance

import "errors"

// ErrLocked is wrapped by the error of taking a lock that another process holds.
var ErrLocked = errors.New("lock held by another process")
