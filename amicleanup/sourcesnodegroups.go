package amicleanup

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// NodeGroups is the source of what managed node groups of EKS launch: the
// image that they run, and the version of a launch template that they name.
// EKS copies the template for the group's Auto Scaling group, which is a
// reference of its own. It needs Target.Clusters.
func NodeGroups() Source { return nodeGroups{} }

type nodeGroups struct{}

func (nodeGroups) Name() string { return "node groups" }

func (nodeGroups) IAMActions() []string {
	return append(templateActions(), "eks:ListClusters", "eks:ListNodegroups", "eks:DescribeNodegroup")
}

func (nodeGroups) needs(t Target) string {
	if t.Clusters == nil {
		return "Clusters"
	}
	return ""
}

// nodeGroup is a node group by name.
type nodeGroup struct{ cluster, name string }

func (nodeGroups) References(ctx context.Context, t Target) ([]Reference, error) {
	g := newGathering(t)
	groups, err := listNodeGroups(ctx, t.Clusters)
	if err == nil {
		err = atOnce(groups, func(group nodeGroup) error {
			out, err := t.Clusters.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: aws.String(group.cluster), NodegroupName: aws.String(group.name)})
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

func (g *gathering) nodeGroup(group *ekstypes.Nodegroup, by string) {
	if group == nil {
		return
	}
	// Of a group with an image of its own this is its id.
	if image := aws.ToString(group.ReleaseVersion); strings.HasPrefix(image, "ami-") {
		g.image(image, by)
	}
	if ref := group.LaunchTemplate; ref != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.templates = append(g.templates, templateVersion{aws.ToString(ref.Id), aws.ToString(ref.Name), aws.ToString(ref.Version), by})
	}
}

func listNodeGroups(ctx context.Context, client ClusterReader) ([]nodeGroup, error) {
	var clusters []string
	pages := eks.NewListClustersPaginator(client, &eks.ListClustersInput{}, func(o *eks.ListClustersPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := eachPage(ctx, pages, func(page *eks.ListClustersOutput) *string {
		clusters = append(clusters, page.Clusters...)
		return page.NextToken
	})
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var groups []nodeGroup
	err = atOnce(clusters, func(cluster string) error {
		pages := eks.NewListNodegroupsPaginator(client, &eks.ListNodegroupsInput{ClusterName: aws.String(cluster)},
			func(o *eks.ListNodegroupsPaginatorOptions) { o.StopOnDuplicateToken = true })
		err := eachPage(ctx, pages, func(page *eks.ListNodegroupsOutput) *string {
			mu.Lock()
			defer mu.Unlock()
			for _, name := range page.Nodegroups {
				groups = append(groups, nodeGroup{cluster, name})
			}
			return page.NextToken
		})
		if notThere(err) {
			return nil // the cluster was deleted meanwhile
		}
		return err
	})
	return groups, err
}
