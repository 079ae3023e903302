package ec2test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// typeFamily describes instance types that differ in size only.
type typeFamily struct {
	names   string // of families, separated by spaces
	perVCPU int    // MiB of memory
	sizes   string // as typeSize parses them, separated by spaces
	mods    string // letters: a for arm64, b burstable, i for i386, o of an old generation, p paravirtual, x for Xen
}

// typeFamilies returns the families of today and of earlier generations. Memory
// that does not follow from the number of vCPUs is given after a colon, in MiB.
func typeFamilies() []typeFamily {
	const (
		burst   = "nano=2:512 micro=2:1024 small=2:2048 medium=2:4096 large=2:8192 xlarge=4:16384 2xlarge=8:32768"
		sizes   = "large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32 12xlarge=48 16xlarge=64 24xlarge=96"
		fifth   = sizes + " metal=96"
		sixth   = sizes + " 32xlarge=128 metal=128"
		amd     = sizes + " 32xlarge=128 48xlarge=192"
		seventh = sizes + " 48xlarge=192 metal-24xl=96 metal-48xl=192"
		seven   = "medium=1 " + sizes + " 32xlarge=128 48xlarge=192 metal-48xl=192"
		arm     = "medium=1 large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32 12xlarge=48 16xlarge=64"
		graph   = "xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32 12xlarge=48 16xlarge=64 24xlarge=96"
	)
	return []typeFamily{
		{"t1", 0, "micro=1:627", "iopx"},
		{"m1", 0, "small=1:1740 medium=1:3788 large=2:7680 xlarge=4:15360", "iopx"},
		{"m2", 0, "xlarge=2:17510 2xlarge=4:35020 4xlarge=8:70041", "opx"},
		{"c1", 0, "medium=2:1740 xlarge=8:7168", "iopx"},
		{"m3", 3840, "medium=1 large=2 xlarge=4 2xlarge=8", "opx"},
		{"c3", 1920, "large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32", "opx"},
		{"r3 i2", 7808, "large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32", "ox"},
		{"g2", 1920, "2xlarge=8 8xlarge=32:61440", "ox"},
		{"t2", 0, burst, "bix"},
		{"m4", 4096, "large=2 xlarge=4 2xlarge=8 4xlarge=16 10xlarge=40 16xlarge=64", "x"},
		{"c4", 1920, "large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=36:61440", "x"},
		{"r4", 7808, "large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32 16xlarge=64", "x"},
		{"i3", 7808, "large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32 16xlarge=64", "x"},
		{"d2", 7808, "xlarge=4 2xlarge=8 4xlarge=16 8xlarge=36:249856", "x"},
		{"p2", 15616, "xlarge=4 8xlarge=32 16xlarge=64:749568", "x"},
		{"p3", 7808, "2xlarge=8 8xlarge=32 16xlarge=64", "x"},
		{"g3", 7808, "4xlarge=16 8xlarge=32 16xlarge=64", "x"},
		{"x1", 15616, "16xlarge=64 32xlarge=128", "x"},
		{"t3 t3a", 0, burst, "b"},
		{"t4g", 0, burst, "ab"},
		{"a1", 2048, "medium=1 large=2 xlarge=4 2xlarge=8 4xlarge=16 metal=16", "a"},
		{"i3", 0, "metal=72:524288", ""},
		{"m5 m5d m5n m5dn", 4096, fifth, ""},
		{"m5a m5ad", 4096, sizes, ""},
		{"c5 c5d", 2048, "large=2 xlarge=4 2xlarge=8 4xlarge=16 9xlarge=36 12xlarge=48 18xlarge=72 24xlarge=96 metal=96", ""},
		{"c5n", 2688, "large=2 xlarge=4 2xlarge=8 4xlarge=16 9xlarge=36:98304 18xlarge=72:196608 metal=72:196608", ""},
		{"c5a c5ad", 2048, sizes, ""},
		{"r5 r5d r5b r5n r5dn", 8192, fifth, ""},
		{"r5a r5ad", 8192, sizes, ""},
		{"z1d", 8192, "large=2 xlarge=4 2xlarge=8 3xlarge=12 6xlarge=24 12xlarge=48 metal=48", ""},
		{"i3en", 8192, "large=2 xlarge=4 2xlarge=8 3xlarge=12 6xlarge=24 12xlarge=48 24xlarge=96 metal=96", ""},
		{"i4i", 8192, sizes + " 32xlarge=128 metal=128", ""},
		{"m6i m6id m6in m6idn", 4096, sixth, ""},
		{"c6i c6id c6in", 2048, sixth, ""},
		{"r6i r6id r6in r6idn", 8192, sixth, ""},
		{"m6a", 4096, amd + " metal=192", ""},
		{"c6a", 2048, amd + " metal=192", ""},
		{"r6a", 8192, amd + " metal=192", ""},
		{"m7i m8i", 4096, seventh, ""},
		{"c7i c8i", 2048, seventh, ""},
		{"r7i r8i", 8192, seventh, ""},
		{"m7i-flex", 4096, "large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32", ""},
		{"c7i-flex", 2048, "large=2 xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32", ""},
		{"m7a m8a", 4096, seven, ""},
		{"c7a c8a", 2048, seven, ""},
		{"r7a r8a", 8192, seven, ""},
		{"m6g m6gd m7g m7gd", 4096, arm + " metal=64", "a"},
		{"c6g c6gd c7g c7gd", 2048, arm + " metal=64", "a"},
		{"c6gn c7gn", 2048, arm, "a"},
		{"r6g r6gd r7g r7gd", 8192, arm + " metal=64", "a"},
		{"m8g", 4096, arm + " 24xlarge=96 48xlarge=192 metal-24xl=96 metal-48xl=192", "a"},
		{"c8g", 2048, arm + " 24xlarge=96 48xlarge=192 metal-24xl=96 metal-48xl=192", "a"},
		{"r8g", 8192, arm + " 24xlarge=96 48xlarge=192 metal-24xl=96 metal-48xl=192", "a"},
		{"x2gd", 16384, arm + " metal=64", "a"},
		{"g4dn", 4096, "xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32 12xlarge=48 16xlarge=64 metal=96", ""},
		{"g4ad", 4096, "xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32 16xlarge=64", ""},
		{"g5g", 2048, "xlarge=4 2xlarge=8 4xlarge=16 8xlarge=32 16xlarge=64 metal=64", "a"},
		{"g5 g6", 4096, graph + " 48xlarge=192", ""},
		{"g6e", 8192, graph + " 48xlarge=192", ""},
		{"p4d p4de", 12288, "24xlarge=96", ""},
		{"p5", 0, "48xlarge=192:2097152", ""},
		{"inf1", 2048, "xlarge=4 2xlarge=8 6xlarge=24 24xlarge=96", ""},
		{"inf2", 4096, "xlarge=4 8xlarge=32 24xlarge=96 48xlarge=192", ""},
		{"trn1", 4096, "2xlarge=8 32xlarge=128", ""},
	}
}

// instanceTypes returns the instance types by name.
func instanceTypes() map[string]instanceType {
	out := make(map[string]instanceType, 1024)
	for _, family := range typeFamilies() {
		has := func(mod string) bool { return strings.Contains(family.mods, mod) }
		archs := []string{"x86_64"}
		switch {
		case has("a"):
			archs = []string{"arm64"}
		case has("i"):
			archs = []string{"i386", "x86_64"}
		}
		for name := range strings.FieldsSeq(family.names) {
			for size := range strings.FieldsSeq(family.sizes) {
				t := typeOfSize(name, size, family.perVCPU)
				t.archs, t.burstable, t.nitro, t.current, t.pv = archs, has("b"), !has("x"), !has("o"), has("p")
				t.free = strings.HasSuffix(t.name, ".micro") && t.burstable
				out[t.name] = t
			}
		}
	}
	for i, name := range slices.Sorted(maps.Keys(out)) {
		t := out[name]
		t.seq = uint64(i) + 1
		out[name] = t
	}
	return out
}

// typeOfSize returns the instance type of a family for a size such as
// "large=2" or "large=2:7680": its name, vCPUs and memory in MiB.
func typeOfSize(family, size string, perVCPU int) instanceType {
	name, rest, _ := strings.Cut(size, "=")
	cpus, memory, fixed := strings.Cut(rest, ":")
	t := instanceType{name: family + "." + name, metal: strings.HasPrefix(name, "metal")}
	t.vcpus = number(cpus)
	t.memoryMiB = t.vcpus * perVCPU
	if fixed {
		t.memoryMiB = number(memory)
	}
	return t
}

// number parses a number of the table.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic("ec2test: " + err.Error())
	}
	return n
}
