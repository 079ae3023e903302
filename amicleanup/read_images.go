package amicleanup

import (
	"context"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// imagesPerPage limits the answer to one call. Without a limit EC2 tries to
// answer with all images at once, which may fail.
const imagesPerPage = 1000

// readImages lists the account's own images, including disabled ones.
func readImages(ctx context.Context, client *awsec2.Client, filters ...ec2types.Filter) ([]*Image, error) {
	pages := awsec2.NewDescribeImagesPaginator(client, &awsec2.DescribeImagesInput{
		Owners:          []string{"self"},
		Filters:         filters,
		IncludeDisabled: aws.Bool(true),
		MaxResults:      aws.Int32(imagesPerPage),
	}, func(o *awsec2.DescribeImagesPaginatorOptions) { o.StopOnDuplicateToken = true })
	var images []*Image
	seen := map[string]bool{}
	words := interned{}
	// The SDK's decoding would be most of the work for many images.
	var page []Image // used again by the next one
	begin := func() { page = page[:0] }
	take := func(item *awsapi.Elements) { page = append(page, readImageXML(item, words)) }
	err := awsapi.EachPage(ctx, pages, func(out *awsec2.DescribeImagesOutput) *string {
		for i := range out.Images { // those that take could not read
			page = append(page, imageOf(&out.Images[i]))
		}
		page = slices.DeleteFunc(page, func(img Image) bool {
			known := seen[img.ID] || img.State == deregistered
			seen[img.ID] = true
			return known
		})
		kept := slices.Clone(page)
		for i := range kept {
			images = append(images, &kept[i])
		}
		begin()
		return out.NextToken
	}, awsapi.TakeList("imagesSet", begin, take))
	if err != nil {
		return nil, err
	}
	return images, nil
}

// readImageXML reads an image from the XML of EC2, with the result of imageOf.
func readImageXML(e *awsapi.Elements, words interned) Image {
	var img Image
	for name, ok := e.Next(); ok; name, ok = e.Next() {
		switch string(name) {
		case "imageId":
			img.ID = string(e.Text())
		case "name":
			img.Name = string(e.Text())
		case "imageOwnerId":
			img.Owner = words.of(e.Text())
		case "imageOwnerAlias":
			img.OwnerAlias = words.of(e.Text())
		case "imageState":
			img.State = words.of(e.Text())
		case "architecture":
			img.Architecture = words.of(e.Text())
		case "creationDate":
			img.Created = timeOf(string(e.Text()))
		case "deprecationTime":
			img.Deprecated = timeOf(string(e.Text()))
		case "lastLaunchedTime":
			img.LastLaunched = timeOf(string(e.Text()))
		case "deregistrationProtection":
			img.Protection = words.of(e.Text())
		case "isPublic":
			img.Public = string(e.Text()) == "true"
		case "sourceImageId":
			img.Source = string(e.Text())
		case "sourceImageRegion":
			img.SourceRegion = words.of(e.Text())
		case "sourceInstanceId":
			img.SourceInstance = string(e.Text())
		case "tagSet":
			eachItem(e, func() { img.addTag(readTag(e, words)) })
		case "blockDeviceMapping":
			eachItem(e, func() { img.addSnapshot(readDevice(e)) })
		default:
			e.Skip()
		}
	}
	return img
}

// eachItem calls read at each item of a list.
func eachItem(e *awsapi.Elements, read func()) {
	for _, ok := e.Next(); ok; _, ok = e.Next() {
		read()
	}
}

func readTag(e *awsapi.Elements, words interned) (key, value string) {
	for name, ok := e.Next(); ok; name, ok = e.Next() {
		switch string(name) {
		case "key":
			key = words.of(e.Text())
		case "value":
			value = words.of(e.Text())
		default:
			e.Skip()
		}
	}
	return key, value
}

// readDevice returns the snapshot of a device, if it has one, and its size.
func readDevice(e *awsapi.Elements) (snapshot string, gib int64) {
	for name, ok := e.Next(); ok; name, ok = e.Next() {
		if string(name) != "ebs" {
			e.Skip()
			continue
		}
		for name, ok := e.Next(); ok; name, ok = e.Next() {
			switch string(name) {
			case "snapshotId":
				snapshot = string(e.Text())
			case "volumeSize":
				size, err := strconv.ParseInt(string(e.Text()), 10, 32)
				if err != nil {
					e.Reject()
				}
				gib = size
			default:
				e.Skip()
			}
		}
	}
	return snapshot, gib
}
