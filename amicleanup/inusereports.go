package amicleanup

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
)

// UsageReportOptions are how usage reports are had. The zero value and nil are
// the same.
type UsageReportOptions struct {
	// MaxAge is how old a report may be that exists already. Zero is 24 hours,
	// which is how old EC2's own knowledge of instances may be in any case; of
	// launch templates it may be some days old.
	MaxAge time.Duration

	// Wait is how long EC2 may take to make reports. Zero is 15 minutes.
	Wait time.Duration

	// Clock is the time to wait by. Nil is the real time.
	Clock clock.Clock
}

const (
	defaultReportAge  = 24 * time.Hour
	defaultReportWait = 15 * time.Minute
	reportPause       = 15 * time.Second
)

// UsageReports asks EC2 which accounts use an image that is shared, by an image
// usage report: the only way to know of accounts that are no targets. Images
// that are not shared are not asked about. It makes a report where there is no
// recent one, which is the only thing that planning ever creates, and which EC2
// forgets after 30 days.
func UsageReports(o *UsageReportOptions) Opinion {
	r := usageReports{}
	if o != nil {
		r.options = *o
	}
	r.options.MaxAge = cmp.Or(r.options.MaxAge, defaultReportAge)
	r.options.Wait = cmp.Or(r.options.Wait, defaultReportWait)
	if r.options.Clock == nil {
		r.options.Clock = clock.System()
	}
	return Opinion{
		Name: "usage reports", OwnerOnly: true, AtPlanOnly: true, Ask: r.ask,
		statements: reportStatements,
	}
}

type usageReports struct{ options UsageReportOptions }

func (u usageReports) ask(ctx context.Context, t Target, images []Image) ([]Reference, error) {
	var mu sync.Mutex
	var reports []string
	err := atOnce(images, func(img Image) error {
		wanted, err := isShared(ctx, t, &img)
		if err != nil || !wanted {
			return err
		}
		report, err := u.report(ctx, t, img.ID)
		if err != nil {
			return fmt.Errorf("usage of %s: %w", img.ID, err)
		}
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, report)
		return nil
	})
	if err != nil || len(reports) == 0 {
		return nil, err
	}
	if err := u.wait(ctx, t, reports); err != nil {
		return nil, err
	}
	return usageEntries(ctx, t, reports)
}

// isShared reports whether others than the owner may launch the image, or
// might before it was disabled.
func isShared(ctx context.Context, t Target, img *Image) (bool, error) {
	saved := sharesInTags(img.Tags)
	if img.Public || saved.Any() {
		return true, nil
	}
	shares := img.Shares
	if shares == nil {
		var err error
		if shares, err = sharesOf(ctx, t.Client, img.ID); err != nil {
			if meaningOf(err) == gone {
				return false, nil
			}
			return false, fmt.Errorf("read who may launch %s: %w", img.ID, err)
		}
	}
	return shares.Any(), nil
}

// report is the id of a recent report about all accounts, or of a new one.
func (u usageReports) report(ctx context.Context, t Target, image string) (string, error) {
	oldest := u.options.Clock.Now().Add(-u.options.MaxAge)
	found := ""
	pages := awsec2.NewDescribeImageUsageReportsPaginator(t.Client, &awsec2.DescribeImageUsageReportsInput{
		ImageIds: []string{image}, MaxResults: aws.Int32(mostPerPage),
	}, func(o *awsec2.DescribeImageUsageReportsPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := eachPage(ctx, pages, func(page *awsec2.DescribeImageUsageReportsOutput) *string {
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
	out, err := t.Client.CreateImageUsageReport(ctx, &awsec2.CreateImageUsageReportInput{
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

// errReport is a usage report that EC2 did not make.
var errReport = errors.New("EC2 made no usage report")

// wait waits until all reports are made.
func (u usageReports) wait(ctx context.Context, t Target, reports []string) error {
	until := u.options.Clock.Now().Add(u.options.Wait)
	for {
		pending := 0
		for some := range slices.Chunk(reports, mostFilterValues) {
			out, err := t.Client.DescribeImageUsageReports(ctx, &awsec2.DescribeImageUsageReportsInput{ReportIds: some})
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
		if !u.options.Clock.Now().Before(until) {
			return fmt.Errorf("%w: %d are pending after %s", errReport, pending, u.options.Wait)
		}
		if err := u.options.Clock.Sleep(ctx, reportPause); err != nil {
			return err
		}
	}
}

func usageEntries(ctx context.Context, t Target, reports []string) ([]Reference, error) {
	var refs []Reference
	for some := range slices.Chunk(reports, mostFilterValues) {
		pages := awsec2.NewDescribeImageUsageReportEntriesPaginator(t.Client, &awsec2.DescribeImageUsageReportEntriesInput{ReportIds: some},
			func(o *awsec2.DescribeImageUsageReportEntriesPaginatorOptions) { o.StopOnDuplicateToken = true })
		err := eachPage(ctx, pages, func(page *awsec2.DescribeImageUsageReportEntriesOutput) *string {
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
