package bake

// An Image defines one image. It is a plain value: creating it does no I/O, and Bake
// does not change it.
type Image struct {
	// Name identifies the image in one Bake and the family to which its artifacts
	// belong. It is required.
	Name string

	// Builder is the platform. It is required.
	Builder Builder

	// From is the image whose artifact this one starts from. It must be baked in the
	// same call. If nil, the Builder has the source.
	From *Image

	// Priority decides which of the images that wait for Options.Parallel and
	// Options.Limits goes first: that with the highest number. It does not interrupt
	// others. Zero is the usual one.
	Priority int

	// Provisioners change the machine, in order.
	Provisioners []Provisioner

	// Steps are additional steps. Each runs at its Point; those of the same Point run
	// in order.
	Steps []Step

	// Checks verify a fresh machine booted from the artifact. If one fails, the
	// artifact is removed. Without checks, no second machine is started.
	Checks []Check

	// Publishers make the good artifact known, in order. If one fails, the build
	// fails but the artifact stays, since others may already use it. With a
	// Fingerprint it is then reused, without them: see PublishReused.
	Publishers []Publisher

	// PublishReused runs the Publishers also for an artifact that is reused by its
	// Fingerprint: to write a manifest in each run, say, or to try again what failed.
	// They must do no harm when they run twice.
	PublishReused bool

	// Tags are set on the artifact and on every resource created for it.
	Tags map[string]string

	// Secrets are additional values to mask in all output. The secrets of commands
	// are always masked.
	Secrets []Secret

	// ProvisionOnly tests the definition without creating an artifact: the machine is
	// launched, provisioned and removed. Checks, Publishers, Fingerprint and Steps
	// after BeforeCapture are ignored; the other steps are undone as in a canceled
	// build. No image can be made From it.
	ProvisionOnly bool

	// Fingerprint identifies the contents of the image; see InputsOf. If the builder,
	// which must be a Finder, finds an artifact of this image with the same
	// fingerprint and source, that artifact is the result and nothing is built or, but
	// for PublishReused, published. If empty, the image is always built.
	Fingerprint string
}
