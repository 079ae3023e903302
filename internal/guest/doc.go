// Package guest prepares and cleans the guests that platforms bake in, whichever
// platform it is: the keys of a build, the user data that gives them to cloud-init and
// shuts an abandoned guest down, connections that are watched, and the clean-up before the disk is captured.
package guest
