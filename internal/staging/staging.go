// Package staging defines the name of the directories in which package provision
// stages files on a machine, by which package baketest recognizes them.
package staging

// Prefix begins the name of every staging directory.
const Prefix = "bakestone-"
