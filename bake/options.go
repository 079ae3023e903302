package bake

import "time"

const defaultLifetime = 6 * time.Hour
