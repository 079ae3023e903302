package ec2_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/ec2"
)

func TestUsage(t *testing.T) {
	onStage(t, func(s *stage) {
		first, err := s.bake(waves())
		if err != nil {
			s.Fatal(err)
		}
		time.Sleep(40 * 24 * time.Hour)
		onlyCanary := ec2.InstanceRefresh{Waves: []ec2.Wave{{Groups: []string{"canary"}}}}
		second, err := s.bake(onlyCanary)
		if err != nil {
			s.Fatal(err)
		}
		report, err := ec2.Usage(s.Context(), s.cloud, "", "simple")
		if err != nil || len(report.Images) != 2 {
			s.Fatalf("Usage() = %+v, %v, want two images", report, err)
		}
		old, young := report.Images[0], report.Images[1]
		if old.ImageID != first.ImageID || old.UnpatchedDays != 40 || len(old.Instances) != 4 || !slices.Equal(old.Groups, []string{"web-a", "web-b"}) {
			s.Errorf("oldest image = %+v, want %s with two groups of two instances", old, first.ImageID)
		}
		if young.ImageID != second.ImageID || len(young.Instances) != 1 || !slices.Equal(young.Groups, []string{"canary"}) || !slices.Equal(young.Templates, []string{"web version 3"}) {
			s.Errorf("youngest image = %+v, want %s with the canary", young, second.ImageID)
		}
		var text strings.Builder
		if err := report.WriteText(&text); err != nil || !strings.Contains(text.String(), "40 days unpatched, 4 instances, groups web-a, web-b\n") {
			s.Errorf("WriteText() = %v:\n%s", err, text.String())
		}
		if data, err := json.Marshal(report); err != nil || !strings.Contains(string(data), `"unpatched_days":40`) {
			s.Errorf("JSON = %s, %v", data, err)
		}
	})
}
