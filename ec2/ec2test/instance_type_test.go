package ec2test_test

import (
	"testing"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestInstanceTypes(t *testing.T) {
	_, c := start(t, nil)
	for name, want := range map[ec2types.InstanceType]struct {
		vcpus      int32
		memory     int64
		hypervisor ec2types.InstanceTypeHypervisor
		metal      bool
	}{
		"t1.micro": {1, 627, "xen", false}, "m2.xlarge": {2, 17510, "xen", false}, "m3.large": {2, 7680, "xen", false},
		"c4.8xlarge": {36, 61440, "xen", false}, "g4ad.xlarge": {4, 16384, "nitro", false}, "m5.metal": {96, 393216, "", true},
		"i3.metal": {72, 524288, "", true}, "c7g.medium": {1, 2048, "nitro", false}, "r7i.metal-24xl": {96, 786432, "", true},
	} {
		out, err := c.DescribeInstanceTypes(t.Context(), &awsec2.DescribeInstanceTypesInput{InstanceTypes: []ec2types.InstanceType{name}})
		if err != nil {
			t.Errorf("DescribeInstanceTypes(%s) = %v", name, err)
			continue
		}
		got := out.InstanceTypes[0]
		if *got.VCpuInfo.DefaultVCpus != want.vcpus || *got.MemoryInfo.SizeInMiB != want.memory || got.Hypervisor != want.hypervisor || *got.BareMetal != want.metal {
			t.Errorf("%s = %d vCPUs, %d MiB, hypervisor %q, bare metal %t, want %+v", name, *got.VCpuInfo.DefaultVCpus, *got.MemoryInfo.SizeInMiB, got.Hypervisor, *got.BareMetal, want)
		}
	}
}
