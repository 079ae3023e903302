package ec2test

import "testing"

func TestRegionCode(t *testing.T) {
	for name, want := range map[string]string{
		"us-east-1": "use1", "ap-southeast-2": "apse2", "eu-central-1": "euc1", "ap-northeast-3": "apne3", "sa-east-1": "sae1",
	} {
		if got := regionCode(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
