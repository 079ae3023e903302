// Package tagnames defines the names of the EC2 tags that packages ec2 and
// amicleanup share. The two do not import each other.
package tagnames

// Prefix begins all names. Users cannot set tags with it.
const Prefix = "bakestone:"

// Tags that package ec2 sets when it creates a resource.
const (
	Build       = Prefix + "build"       // build id
	Image       = Prefix + "image"       // name of the bake.Image
	Expires     = Prefix + "expires"     // when anyone may remove the resource, in RFC 3339; not on a promoted AMI
	Version     = Prefix + "version"     // version of this module
	Login       = Prefix + "login"       // on AMIs: login user
	Source      = Prefix + "source"      // on AMIs: base AMI
	Stamp       = Prefix + "stamp"       // on AMIs: when it was baked, in Unix time
	Fingerprint = Prefix + "fingerprint" // on AMIs: fingerprint of the build
)
