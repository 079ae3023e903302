package ec2test

import (
	"fmt"
	"hash/fnv"
	"iter"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// base is common to all resources.
type base struct {
	id      string
	seq     uint64 // order of creation, in which describe calls list resources
	owner   string
	created time.Time
	visible time.Time // when describe calls begin to show it
	tags    tags
	builtin bool // an account has it from the start
}

func (b *base) meta() *base { return b }

// A record is a resource in a table.
type record interface {
	comparable
	meta() *base
}

// table holds a region's resources of one kind, of all accounts, in the order
// of their creation.
type table[T record] struct {
	byID  map[string]T
	order []T
	dead  int // entries of order that are no longer in byID
}

func (t *table[T]) put(r T) {
	if t.byID == nil {
		t.byID = make(map[string]T)
	}
	at := len(t.order)
	if at > 0 && t.order[at-1].meta().seq >= r.meta().seq {
		// A restored resource returns to its former place.
		t.compact()
		at = t.indexAfter(r.meta().seq)
	}
	t.byID[r.meta().id] = r
	t.order = slices.Insert(t.order, at, r)
}

// indexAfter returns the index in order of the first resource created after
// seq.
func (t *table[T]) indexAfter(seq uint64) int {
	return sort.Search(len(t.order), func(i int) bool { return t.order[i].meta().seq > seq })
}

// compact drops removed resources from order.
func (t *table[T]) compact() {
	t.order = slices.DeleteFunc(t.order, func(r T) bool { return t.byID[r.meta().id] != r })
	t.dead = 0
}

func (t *table[T]) get(id string) (T, bool) {
	r, ok := t.byID[id]
	return r, ok
}

func (t *table[T]) remove(id string) {
	if _, ok := t.byID[id]; !ok {
		return
	}
	delete(t.byID, id)
	if t.dead++; t.dead > len(t.byID)+16 {
		t.compact()
	}
}

// after iterates over the resources created after seq, oldest first. The loop
// must not change the table.
func (t *table[T]) after(seq uint64) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, r := range t.order[t.indexAfter(seq):] {
			if t.byID[r.meta().id] == r && !yield(r) {
				return
			}
		}
	}
}

// all iterates over the resources, oldest first. The loop may remove the
// current one.
func (t *table[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, r := range slices.Clone(t.order) {
			if t.byID[r.meta().id] == r && !yield(r) {
				return
			}
		}
	}
}

// A kind describes a type of resource: the form of its ids, and EC2's errors
// for ids that are malformed or do not exist.
type kind struct {
	prefix    string // of ids, with the dash
	resource  string // in tag specifications
	malformed string // error code
	notFound  string // error code
	message   string // of notFound, with %s for the id
}

func imageKind() kind {
	return kind{"ami-", "image", "InvalidAMIID.Malformed", "InvalidAMIID.NotFound", "The image id '[%s]' does not exist"}
}

func snapshotKind() kind {
	return kind{"snap-", "snapshot", "InvalidSnapshotID.Malformed", "InvalidSnapshot.NotFound", "The snapshot '%s' does not exist."}
}

func volumeKind() kind {
	return kind{"vol-", "volume", "InvalidVolumeID.Malformed", "InvalidVolume.NotFound", "The volume '%s' does not exist."}
}

func instanceKind() kind {
	return kind{"i-", "instance", "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound", "The instance ID '%s' does not exist"}
}

func groupKind() kind {
	return kind{"sg-", "security-group", "InvalidGroupId.Malformed", "InvalidGroup.NotFound", "The security group '%s' does not exist"}
}

func ruleKind() kind {
	return kind{"sgr-", "security-group-rule", "InvalidSecurityGroupRuleId.Malformed", "InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist"}
}

func interfaceKind() kind {
	return kind{"eni-", "network-interface", "InvalidNetworkInterfaceId.Malformed", "InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist"}
}

func keyPairKind() kind {
	return kind{"key-", "key-pair", "InvalidKeyPair.NotFound", "InvalidKeyPair.NotFound", "The key pair '%s' does not exist"}
}

func templateKind() kind {
	return kind{"lt-", "launch-template", "InvalidLaunchTemplateId.Malformed", "InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist."}
}

func vpcKind() kind {
	return kind{"vpc-", "vpc", "InvalidVpcId.Malformed", "InvalidVpcID.NotFound", "The vpc ID '%s' does not exist"}
}

func subnetKind() kind {
	return kind{"subnet-", "subnet", "InvalidSubnetId.Malformed", "InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist"}
}

func gatewayKind() kind {
	return kind{"igw-", "internet-gateway", "InvalidInternetGatewayId.Malformed", "InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist"}
}

func routeTableKind() kind {
	return kind{"rtb-", "route-table", "InvalidRouteTableId.Malformed", "InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist"}
}

func (k kind) missing(id string) *ec2query.Error { return ec2query.Errorf(k.notFound, k.message, id) }

// check rejects an id that is malformed for this kind.
func (k kind) check(id string) *ec2query.Error {
	hex, ok := strings.CutPrefix(id, k.prefix)
	if ok && (len(hex) == 8 || len(hex) == 17) && isHex(hex) {
		return nil
	}
	return ec2query.Errorf(k.malformed, "Invalid id: %q (expecting \"%s...\")", id, k.prefix)
}

func isHex(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// newID returns an id that is unique in the server. Ids look random but are the
// same in every run.
func newID(prefix string, n uint64) string {
	return fmt.Sprintf("%s0%016x", prefix, scramble(n))
}

// scramble is the bijective mixing function of splitmix64.
func scramble(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// namedID returns the id of a resource that every server has, derived from its
// name.
func namedID(prefix string, parts ...string) string {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write(append([]byte(part), 0)) // a hash never fails
	}
	return fmt.Sprintf("%s1%016x", prefix, h.Sum64())
}
