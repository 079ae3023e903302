package inuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// UsageReportOptions configures UsageReports. Nil means the zero value.
type UsageReportOptions struct {
	// MaxAge is the age up to which an existing report is used. Zero means 24
	// hours, which is how old EC2's knowledge of instances may be in any case;
	// that of launch templates may be some days old.
	MaxAge time.Duration

	// Wait limits how long EC2 may take to make reports. Zero means 15 minutes.
	Wait time.Duration
}

const (
	defaultReportAge  = 24 * time.Hour
	defaultReportWait = 15 * time.Minute
	reportPause       = 15 * time.Second
)

// UsageReports returns the source that asks EC2 which accounts use an image
// that is shared, by an image usage report: the only way to learn about accounts
// that are not targets. Images that are not shared need no report. Where no
// recent report exists, the source creates one, which EC2 deletes after 30 days;
// planning creates nothing else.
func UsageReports(o *UsageReportOptions) Source {
	r := usageReports{}
	if o != nil {
		r.options = *o
	}
	r.options.MaxAge = cmp.Or(r.options.MaxAge, defaultReportAge)
	r.options.Wait = cmp.Or(r.options.Wait, defaultReportWait)
	return Source{Name: "usage reports", SharedOnly: true, Slow: true, Ask: r.ask, Permissions: reportPermissions}
}

func reportPermissions(region string) []iampolicy.Statement {
	create := func(resource string) iampolicy.Statement {
		return iampolicy.Allow("Report", []string{"ec2:CreateImageUsageReport"}, iampolicy.ARNs("ec2", region, resource), nil)
	}
	return append(Reads("ec2:DescribeImageUsageReports", "ec2:DescribeImageUsageReportEntries")(region),
		create("image/*"), create("image-usage-report/*"))
}

type usageReports struct{ options UsageReportOptions }

func (u usageReports) ask(ctx context.Context, at Place, images []string) ([]Reference, error) {
	client := awsec2.NewFromConfig(at.Config)
	at.Clock = clock.OrSystem(at.Clock)
	var mu sync.Mutex
	var reports []string
	err := forEach(images, func(id string) error {
		report, err := u.report(ctx, client, at.Clock.Now(), id)
		if err != nil {
			return fmt.Errorf("usage of %s: %w", id, err)
		}
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, report)
		return nil
	})
	if err != nil || len(reports) == 0 {
		return nil, err
	}
	if err := u.wait(ctx, client, at.Clock, reports); err != nil {
		return nil, err
	}
	return usageEntries(ctx, client, reports)
}

// report returns the id of a recent report about all accounts, or creates one.
func (u usageReports) report(ctx context.Context, client *awsec2.Client, now time.Time, image string) (string, error) {
	oldest := now.Add(-u.options.MaxAge)
	found := ""
	pages := awsec2.NewDescribeImageUsageReportsPaginator(client, &awsec2.DescribeImageUsageReportsInput{
		ImageIds: []string{image}, MaxResults: aws.Int32(mostPerPage),
	}, func(o *awsec2.DescribeImageUsageReportsPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeImageUsageReportsOutput) *string {
		for i := range page.ImageUsageReports {
			r := &page.ImageUsageReports[i]
			if aws.ToString(r.State) != reportFailed && len(r.AccountIds) == 0 && coversAll(r) && !aws.ToTime(r.CreationTime).Before(oldest) {
				found = aws.ToString(r.ReportId)
			}
		}
		return page.NextToken
	})
	if err != nil || found != "" {
		return found, err
	}
	out, err := client.CreateImageUsageReport(ctx, &awsec2.CreateImageUsageReportInput{
		ImageId: aws.String(image),
		ResourceTypes: []ec2types.ImageUsageResourceTypeRequest{
			{ResourceType: aws.String(usedByInstance)}, {ResourceType: aws.String(usedByTemplate)},
		},
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ReportId), nil
}

// Words of usage reports.
const (
	reportsPerCall = 200

	usedByInstance = "ec2:Instance"
	usedByTemplate = "ec2:LaunchTemplate"
	reportPending  = "pending"
	reportFailed   = "error"
)

func coversAll(r *ec2types.ImageUsageReport) bool {
	for _, want := range []string{usedByInstance, usedByTemplate} {
		if !slices.ContainsFunc(r.ResourceTypes, func(t ec2types.ImageUsageResourceType) bool { return aws.ToString(t.ResourceType) == want }) {
			return false
		}
	}
	return true
}

// errReport is wrapped by the error of a usage report that EC2 did not finish.
var errReport = errors.New("usage report not available")

// wait waits until all reports are finished.
func (u usageReports) wait(ctx context.Context, client *awsec2.Client, c clock.Clock, reports []string) error {
	until := c.Now().Add(u.options.Wait)
	for {
		pending := 0
		for some := range slices.Chunk(reports, reportsPerCall) {
			out, err := client.DescribeImageUsageReports(ctx, &awsec2.DescribeImageUsageReportsInput{ReportIds: some})
			if err != nil {
				return err
			}
			for _, r := range out.ImageUsageReports {
				switch aws.ToString(r.State) {
				case reportPending:
					pending++
				case reportFailed:
					return fmt.Errorf("%w: %s of %s: %s", errReport, aws.ToString(r.ReportId), aws.ToString(r.ImageId), aws.ToString(r.StateReason))
				}
			}
		}
		if pending == 0 {
			return nil
		}
		if !c.Now().Before(until) {
			return fmt.Errorf("%w: %d are pending after %s", errReport, pending, u.options.Wait)
		}
		if err := c.Sleep(ctx, reportPause); err != nil {
			return err
		}
	}
}

func usageEntries(ctx context.Context, client *awsec2.Client, reports []string) ([]Reference, error) {
	var refs []Reference
	for some := range slices.Chunk(reports, reportsPerCall) {
		pages := awsec2.NewDescribeImageUsageReportEntriesPaginator(client, &awsec2.DescribeImageUsageReportEntriesInput{ReportIds: some},
			func(o *awsec2.DescribeImageUsageReportEntriesPaginatorOptions) { o.StopOnDuplicateToken = true })
		err := awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeImageUsageReportEntriesOutput) *string {
			for _, e := range page.ImageUsageReportEntries {
				if n := aws.ToInt64(e.UsageCount); n > 0 {
					by := fmt.Sprintf("account %s with %d of %s", aws.ToString(e.AccountId), n, aws.ToString(e.ResourceType))
					refs = append(refs, Reference{ImageID: aws.ToString(e.ImageId), By: by})
				}
			}
			return page.NextToken
		})
		if err != nil {
			return refs, err
		}
	}
	return refs, nil
}
