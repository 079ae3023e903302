package ec2

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/tagnames"
)

// The tags that are set in every create call, in addition to Name and the caller's.
const (
	TagBuild       = tagnames.Build       // "bakestone:build": the build id, bake.Run.ID
	TagImage       = tagnames.Image       // "bakestone:image": bake.Image.Name
	TagExpires     = tagnames.Expires     // "bakestone:expires": when anyone may remove the resource, in RFC 3339; not on promoted AMIs
	TagVersion     = tagnames.Version     // "bakestone:version": the version of this module
	TagLogin       = tagnames.Login       // "bakestone:login": on AMIs: the user to log in as
	TagSource      = tagnames.Source      // "bakestone:source": on AMIs: the AMI it was baked from
	TagTimestamp   = tagnames.Stamp       // "bakestone:stamp": on AMIs: when it was baked, Unix time
	TagFingerprint = tagnames.Fingerprint // "bakestone:fingerprint": on AMIs: bake.Run.Fingerprint
)

const tagName = "Name"

// tags returns the tags of a resource that exists only during the bake.
func (s *session) tags(name string) map[string]string { return s.tagsOver(s.builder.RunTags, name) }

// tagsOver returns the tags that all resources have, which override those of under.
func (s *session) tagsOver(under map[string]string, name string) map[string]string {
	tags := map[string]string{tagName: name}
	maps.Copy(tags, s.SourceTags)
	maps.Copy(tags, under)
	maps.Copy(tags, s.builder.Tags)
	maps.Copy(tags, s.run.Tags)
	maps.Copy(tags, map[string]string{
		TagBuild:   s.run.ID,
		TagImage:   s.run.Image,
		TagExpires: s.run.Expires.UTC().Format(time.RFC3339),
		TagVersion: bake.Version,
	})
	return tags
}

// imageTags returns the tags of the AMI and its snapshots.
func (s *session) imageTags() map[string]string {
	name := s.Image.Name
	if s.builder.ReplaceAMI {
		name = s.builder.AMIName // its final name
	}
	tags := s.tagsOver(nil, name)
	tags[TagLogin] = s.login()
	tags[TagSource] = s.Source.ID
	tags[TagTimestamp] = strconv.FormatInt(s.Image.Baked.Unix(), 10)
	if s.run.Fingerprint != "" {
		tags[TagFingerprint] = s.run.Fingerprint
	}
	return tags
}

// findSourceTags records the result of Builder.SourceTags. It reports tags that the
// resources cannot have.
func (s *session) findSourceTags() error {
	const field = "Builder.SourceTags"
	if s.builder.SourceTags == nil {
		return nil
	}
	tags, err := s.builder.SourceTags(s.Source)
	if err != nil {
		return bake.Invalid(field, "source %s: %w", s.Source.ID, err)
	}
	b := s.builder
	b.RunTags = maps.Clone(tags)
	if b.RunTags == nil {
		return nil
	}
	maps.Copy(b.RunTags, s.builder.RunTags)
	if err := errors.Join(b.validateTags(s.image)...); err != nil {
		return bake.Invalid(field, "%w", err)
	}
	if err := checkRedacted(field, tags); err != nil {
		return err
	}
	s.SourceTags = tags
	return nil
}

// tagged returns the same tags for several kinds of resources.
func tagged(tags map[string]string, kinds ...ec2types.ResourceType) []ec2types.TagSpecification {
	specs := make([]ec2types.TagSpecification, 0, len(kinds))
	for _, kind := range kinds {
		specs = append(specs, ec2types.TagSpecification{ResourceType: kind, Tags: tagList(tags)})
	}
	return specs
}

func tagList(tags map[string]string) []ec2types.Tag {
	list := make([]ec2types.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, ec2types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}

func tagMap(list []ec2types.Tag) map[string]string {
	tags := make(map[string]string, len(list))
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags
}

func (b Builder) validateTags(img *bake.Image) []error {
	all := map[string]string{}
	maps.Copy(all, b.RunTags)
	maps.Copy(all, b.Tags)
	maps.Copy(all, img.Tags)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch lower := strings.ToLower(key); {
		case !validTag(key, all[key]):
			errs = append(errs, bake.Invalid("Tags", "invalid tag %q: keys have 1 to %d characters, values at most %d", key, longestTagKey, longestTagValue))
		case strings.HasPrefix(lower, "aws:") || strings.HasPrefix(lower, tagnames.Prefix):
			errs = append(errs, bake.Invalid("Tags", "%q has a reserved prefix", key))
		case b.Metadata.Tags && !validMetadataTag(key):
			errs = append(errs, bake.Invalid("Tags", "invalid key %q: with Builder.Metadata.Tags, keys contain only ASCII letters, digits and -_+=,.@: "+
				`and are not ".", ".." or "_index"`, key))
		}
	}
	ours := ourTags()
	if _, named := all[tagName]; named { // it replaces ours
		ours = ours[1:]
	}
	if most := mostTags - len(ours); len(all) > most {
		errs = append(errs, bake.Invalid("Tags", "%d tags, want at most %d: EC2 allows %d, of which Bakestone sets %s",
			len(all), most, mostTags, strings.Join(ours, ", ")))
	}
	if b.InstanceProfilePolicy != "" {
		errs = append(errs, validateIAMTags(img.Name, all)...)
	}
	return errs
}

// ourTags returns the keys of the tags that a build may set itself, Name first.
func ourTags() []string {
	return []string{tagName, TagBuild, TagImage, TagExpires, TagVersion, TagLogin, TagSource, TagTimestamp, TagFingerprint}
}

// validTag reports whether EC2 accepts a tag. It counts characters, not bytes: see
// "Tag restrictions" in the EC2 User Guide.
func validTag(key, value string) bool {
	return key != "" && utf8.ValidString(key) && utf8.ValidString(value) &&
		utf8.RuneCountInString(key) <= longestTagKey && utf8.RuneCountInString(value) <= longestTagValue
}

// metadataTag matches the tag keys that the instance metadata service accepts.
var metadataTag = regexp.MustCompile(`^[0-9a-zA-Z\-_+=,.@:]+$`)

// validMetadataTag reports whether an instance whose metadata service shows tags can
// have a tag with the key: see "View tags for your EC2 instances using instance
// metadata" in the EC2 User Guide.
func validMetadataTag(key string) bool {
	return metadataTag.MatchString(key) && key != "." && key != ".." && key != "_index"
}

// iamTag matches the tag keys and values that IAM accepts, unlike EC2, which accepts
// all. See Tag in the IAM API reference.
var iamTag = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// validateIAMTags reports tags that the temporary instance profile cannot have.
func validateIAMTags(image string, tags map[string]string) []error {
	const rule = "invalid tag text %q: with Builder.InstanceProfilePolicy, tags have letters, digits, spaces and _.:/=+-@"
	var errs []error
	if !iamTag.MatchString(image) {
		errs = append(errs, bake.Invalid("Image.Name", rule, image))
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		for _, text := range []string{key, tags[key]} {
			if !iamTag.MatchString(text) {
				errs = append(errs, bake.Invalid("Tags", rule, text))
			}
		}
	}
	return errs
}
