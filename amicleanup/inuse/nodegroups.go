package inuse

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// NodeGroups returns the source of the images of managed EKS node groups: the
// image that they run, and the version of a launch template that they name.
// EKS copies the template for the group's Auto Scaling group, which
// [AutoScalingGroups] reads.
func NodeGroups() Source {
	return Source{
		Name: "node groups", List: listImagesOfNodeGroups,
		Permissions: readsTemplates("eks:ListClusters", "eks:ListNodegroups", "eks:DescribeNodegroup"),
	}
}

// A nodeGroup names a node group.
type nodeGroup struct{ cluster, name string }

func listImagesOfNodeGroups(ctx context.Context, at Place) ([]Reference, error) {
	g := newCollector(at)
	client := eks.NewFromConfig(at.Config)
	groups, err := listNodeGroups(ctx, client)
	if err == nil {
		err = forEach(groups, func(group nodeGroup) error {
			out, err := client.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: aws.String(group.cluster), NodegroupName: aws.String(group.name)})
			if notThere(err) {
				return nil
			}
			if err != nil {
				return err
			}
			g.nodeGroup(out.Nodegroup, "node group "+group.cluster+"/"+group.name)
			return nil
		})
	}
	return g.finish(ctx, err)
}

func (g *collector) nodeGroup(group *ekstypes.Nodegroup, by string) {
	if group == nil {
		return
	}
	// For a group with a custom image this is the image id.
	if image := aws.ToString(group.ReleaseVersion); strings.HasPrefix(image, imagePrefix) {
		g.image(image, by)
	}
	if ref := group.LaunchTemplate; ref != nil {
		g.template(ref.Id, ref.Name, ref.Version, by)
	}
}

func listNodeGroups(ctx context.Context, client *eks.Client) ([]nodeGroup, error) {
	var clusters []string
	pages := eks.NewListClustersPaginator(client, &eks.ListClustersInput{}, func(o *eks.ListClustersPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, pages, func(page *eks.ListClustersOutput) *string {
		clusters = append(clusters, page.Clusters...)
		return page.NextToken
	})
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var groups []nodeGroup
	err = forEach(clusters, func(cluster string) error {
		pages := eks.NewListNodegroupsPaginator(client, &eks.ListNodegroupsInput{ClusterName: aws.String(cluster)},
			func(o *eks.ListNodegroupsPaginatorOptions) { o.StopOnDuplicateToken = true })
		err := awsapi.EachPage(ctx, pages, func(page *eks.ListNodegroupsOutput) *string {
			mu.Lock()
			defer mu.Unlock()
			for _, name := range page.Nodegroups {
				groups = append(groups, nodeGroup{cluster, name})
			}
			return page.NextToken
		})
		if notThere(err) {
			return nil // the cluster was deleted in the meantime
		}
		return err
	})
	return groups, err
}
