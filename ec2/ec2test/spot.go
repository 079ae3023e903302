package ec2test

import (
	"cmp"
	"strconv"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// spotRequest is a request for a spot instance. It stays open until there is
// capacity at its price.
type spotRequest struct {
	base

	persistent bool
	behavior   string // on interruption
	price      string
	launch     spotLaunch
	instance   *instance // nil for an open request
	canceled   bool
	validUntil *time.Time
	tried      time.Time
	refused    string // status code of the last attempt to launch
}

// spotLaunch is the launch specification of a request.
type spotLaunch struct {
	ImageID         string `ec2:"ImageId,required"`
	InstanceType    string
	KeyName         string
	SubnetID        string   `ec2:"SubnetId"`
	SecurityGroupID []string `ec2:"SecurityGroupId"`
	SecurityGroup   []string
	UserData        []byte
	EbsOptimized    *bool

	BlockDeviceMapping []mapping
	NetworkInterface   []nicParams
	IamInstanceProfile *profileParams
	Placement          *spotPlacement
	Monitoring         *enabledParam
}

type spotPlacement struct {
	AvailabilityZone string
	GroupName        string
	Tenancy          string `ec2:"Tenancy,oneof=default|dedicated|host"`
}

// input returns the launch of a request.
func (r *spotRequest) input() *runInstancesInput {
	l, options := r.launch, &spotParams{MaxPrice: r.price, InstanceInterruptionBehavior: r.behavior, SpotInstanceType: "one-time"}
	if r.persistent {
		options.SpotInstanceType = "persistent"
	}
	in := &runInstancesInput{
		MinCount: 1, MaxCount: 1, SubnetID: l.SubnetID,
		launchParams: launchParams{
			ImageID: l.ImageID, InstanceType: l.InstanceType, KeyName: l.KeyName, SecurityGroupID: l.SecurityGroupID, SecurityGroup: l.SecurityGroup,
			UserData: l.UserData, EbsOptimized: l.EbsOptimized, BlockDeviceMapping: l.BlockDeviceMapping, NetworkInterface: l.NetworkInterface,
			IamInstanceProfile: l.IamInstanceProfile, Monitoring: l.Monitoring,
			InstanceMarketOptions: &marketParams{MarketType: string(Spot), SpotOptions: options},
		},
	}
	if p := l.Placement; p != nil {
		in.Placement = &placementParams{AvailabilityZone: p.AvailabilityZone, GroupName: p.GroupName, Tenancy: p.Tenancy}
	}
	return in
}

// isOpen reports whether a request waits for an instance.
func (r *spotRequest) isOpen(now time.Time) bool {
	if r.canceled || r.validUntil != nil && now.After(*r.validUntil) {
		return false
	}
	// An interrupted instance that was stopped starts again by itself in AWS.
	return r.instance == nil || r.persistent && r.instance.phase.code(now) == terminated
}

// fulfill launches the instance of an open request, if there is capacity.
func (c *call) fulfill(r *spotRequest) {
	r.tried = c.now
	out, err := c.launchAll(r.input(), nil)
	switch {
	case err == nil:
		r.instance, _ = c.instances.get(out.Instances.Items[0].ID)
		r.instance.spotRequest, r.refused = r.id, ""
	case err.Code == "SpotMaxPriceTooLow":
		r.refused = "price-too-low"
	case err.Code == "MaxSpotInstanceCountExceeded" || err.Code == "InsufficientInstanceCapacity":
		r.refused = "capacity-not-available"
	default:
		r.refused = "bad-parameters"
	}
}

func spotKind() kind {
	return kind{"sir-", "spot-instances-request", "InvalidSpotInstanceRequestID.Malformed", "InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID '%s' does not exist"}
}

// status returns the state of a request and EC2's status code. A persistent
// request outlives its instance and becomes open again.
func (r *spotRequest) status(now time.Time) (state, code string) {
	i := r.instance
	if i == nil {
		if r.canceled {
			return "cancelled", "canceled-before-fulfillment"
		}
		if r.validUntil != nil && now.After(*r.validUntil) {
			return "closed", "schedule-expired"
		}
		return "open", cmp.Or(r.refused, "pending-evaluation")
	}
	is := i.phase.code(now)
	switch {
	case is == stopped && i.reasonCode == "Server.SpotInstanceShutdown":
		state, code = "open", "instance-stopped-no-capacity"
	case is == stopped:
		state, code = "disabled", "instance-stopped-by-user"
	case is != terminated:
		state, code = "active", "fulfilled"
	case i.outbid:
		state, code = "closed", "instance-terminated-by-price"
	case i.reasonCode == "Server.SpotInstanceTermination":
		state, code = "closed", "instance-terminated-no-capacity"
	default:
		state, code = "closed", "instance-terminated-by-user"
	}
	switch {
	case r.canceled && is == terminated:
		state = "cancelled"
	case r.canceled:
		state, code = "cancelled", "request-canceled-and-instance-running"
	case r.persistent && state == "closed":
		state = "open"
	}
	return state, code
}

func (r *spotRequest) instanceID() string {
	if r.instance == nil {
		return ""
	}
	return r.instance.id
}

type requestSpotInput struct {
	LaunchSpecification          spotLaunch `ec2:"LaunchSpecification,required"`
	InstanceCount                *int
	SpotPrice                    string
	Type                         string `ec2:"Type,oneof=one-time|persistent"`
	InstanceInterruptionBehavior string `ec2:"InstanceInterruptionBehavior,oneof=terminate|stop|hibernate"`
	ValidUntil                   *time.Time
	ClientToken                  string
	TagSpecification             []tagSpecification
}

type spotStatusXML struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
	Updated string `xml:"updateTime"`
}

type spotLaunchXML struct {
	Image      string                   `xml:"imageId"`
	Type       string                   `xml:"instanceType,omitempty"`
	Key        string                   `xml:"keyName,omitempty"`
	Subnet     string                   `xml:"subnetId,omitempty"`
	Groups     ec2query.Set[groupIDXML] `xml:"groupSet"`
	Optimal    bool                     `xml:"ebsOptimized"`
	Monitoring enabledXML               `xml:"monitoring"`
}

type spotRequestXML struct {
	ID       string               `xml:"spotInstanceRequestId"`
	State    string               `xml:"state"`
	Status   spotStatusXML        `xml:"status"`
	Type     string               `xml:"type"`
	Price    string               `xml:"spotPrice,omitempty"`
	Launch   spotLaunchXML        `xml:"launchSpecification"`
	Instance string               `xml:"instanceId,omitempty"`
	Created  string               `xml:"createTime"`
	Product  string               `xml:"productDescription"`
	Behavior string               `xml:"instanceInterruptionBehavior"`
	Tags     ec2query.Set[tagXML] `xml:"tagSet"`
}

func (c *call) spotXML(r *spotRequest) spotRequestXML {
	out := spotRequestXML{
		ID: r.id, Type: "one-time", Price: r.price, Instance: r.instanceID(), Created: ec2query.FormatTime(r.created),
		Launch:  spotLaunchXML{Image: r.launch.ImageID, Type: r.launch.InstanceType, Key: r.launch.KeyName, Subnet: r.launch.SubnetID, Optimal: truthOf(r.launch.EbsOptimized)},
		Product: "Linux/UNIX", Behavior: cmp.Or(r.behavior, "terminate"), Tags: r.tags.set(c.now),
	}
	for _, id := range r.launch.SecurityGroupID {
		if g, ok := c.groups.get(id); ok {
			out.Launch.Groups.Items = append(out.Launch.Groups.Items, groupIDXML{g.id, g.name})
		}
	}
	if r.persistent {
		out.Type = "persistent"
	}
	out.State, out.Status.Code = r.status(c.now)
	out.Status.Message = map[string]string{
		"capacity-not-available":                "There is no Spot capacity available that matches your request.",
		"price-too-low":                         "Your Spot request price is lower than the minimum required Spot request fulfillment price.",
		"bad-parameters":                        "Your Spot request has parameters that cannot be fulfilled.",
		"schedule-expired":                      "Your Spot request expired before it was fulfilled.",
		"pending-evaluation":                    "Your Spot request has been submitted for review, and is pending evaluation.",
		"fulfilled":                             "Your Spot request is fulfilled.",
		"canceled-before-fulfillment":           "Your Spot request is canceled before it was fulfilled.",
		"request-canceled-and-instance-running": "Your Spot request is canceled, but your instance is still running.",
		"instance-terminated-by-user":           "Your Spot instance was terminated by you.",
		"instance-terminated-by-price":          "Your Spot instance was terminated because the Spot price is above its maximum price.",
		"instance-terminated-no-capacity":       "Your Spot instance was terminated because there is no Spot capacity available.",
		"instance-stopped-no-capacity":          "Your Spot instance was stopped because there is no Spot capacity available.",
		"instance-stopped-by-user":              "Your Spot instance was stopped by you.",
	}[out.Status.Code]
	out.Status.Updated = ec2query.FormatTime(r.created)
	return out
}

type spotRequestsOutput struct {
	Requests ec2query.Set[spotRequestXML] `xml:"spotInstanceRequestSet"`
}

type describeSpotOutput struct {
	spotRequestsOutput
	Next string `xml:"nextToken,omitempty"`
}

func (c *call) requestSpot(in *requestSpotInput) (*spotRequestsOutput, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		list, err := lookups(c, &c.spotRequests, spotKind(), known)
		return &spotRequestsOutput{Requests: ec2query.MapSet(list, c.spotXML)}, err
	}
	specs, err := tagSpecs(in.TagSpecification, "spot-instances-request")
	if err != nil {
		return nil, err
	}
	price, err := priceText(in.SpotPrice)
	if err != nil {
		return nil, err
	}
	if _, err := c.usableImage(in.LaunchSpecification.ImageID); err != nil {
		return nil, err
	}
	if _, err := lookups(c, &c.groups, groupKind(), in.LaunchSpecification.SecurityGroupID); err != nil {
		return nil, err
	}
	probe := &spotRequest{launch: in.LaunchSpecification, price: price, persistent: in.Type == "persistent", behavior: in.InstanceInterruptionBehavior}
	if _, err := c.planLaunch(probe.input()); err != nil {
		return nil, err
	}
	count := 1
	if in.InstanceCount != nil {
		count = *in.InstanceCount
	}
	if count < 1 {
		return nil, ec2query.InvalidValue("InstanceCount", intText(&count), "It must be at least 1.")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &spotRequestsOutput{}
	var ids []string
	for range count {
		r := &spotRequest{
			base:       c.newBase(spotKind(), specs["spot-instances-request"].clone()),
			persistent: in.Type == "persistent", behavior: in.InstanceInterruptionBehavior, price: price, launch: in.LaunchSpecification,
			validUntil: in.ValidUntil,
		}
		c.spotRequests.put(r)
		ids = append(ids, r.id)
		out.Requests.Items = append(out.Requests.Items, c.spotXML(r))
		c.fulfill(r)
	}
	c.rememberToken(in.ClientToken, ids...)
	return out, nil
}

// priceText formats a price as EC2 does.
func priceText(dollars string) (string, *ec2query.Error) {
	if dollars == "" {
		return "", nil
	}
	price, err := strconv.ParseFloat(dollars, 64)
	if err != nil || price <= 0 {
		return "", ec2query.InvalidValue("SpotPrice", dollars, "It must be a price in dollars.")
	}
	return strconv.FormatFloat(price, 'f', 6, 64), nil
}

func spotFilters() filters[*spotRequest] {
	return filters[*spotRequest]{
		"spot-instance-request-id": func(_ *call, r *spotRequest) []string { return one(r.id) },
		"state":                    func(c *call, r *spotRequest) []string { state, _ := r.status(c.now); return one(state) },
		"type":                     func(c *call, r *spotRequest) []string { return one(c.spotXML(r).Type) },
		"instance-id":              func(_ *call, r *spotRequest) []string { return one(r.instanceID()) },
		"create-time":              func(c *call, r *spotRequest) []string { return one(c.spotXML(r).Created) },
		"status-code":              func(c *call, r *spotRequest) []string { return one(c.spotXML(r).Status.Code) },
		"launch.key-name":          func(_ *call, r *spotRequest) []string { return one(r.launch.KeyName) },
		"launch.group-id":          func(_ *call, r *spotRequest) []string { return r.launch.SecurityGroupID },
		"product-description":      func(*call, *spotRequest) []string { return one("Linux/UNIX") },
		"launch.image-id":          func(_ *call, r *spotRequest) []string { return one(r.launch.ImageID) },
		"launch.instance-type":     func(_ *call, r *spotRequest) []string { return one(r.launch.InstanceType) },
	}
}

// spotTable returns the requests of RequestSpotInstances, and those behind the
// spot instances of RunInstances.
func (c *call) spotTable() *table[*spotRequest] {
	all := &table[*spotRequest]{}
	for r := range c.spotRequests.all() {
		all.put(r)
	}
	for i := range c.instances.all() {
		if _, requested := c.spotRequests.get(i.spotRequest); !i.spot || requested {
			continue
		}
		b := i.base
		b.id, b.tags = i.spotRequest, nil
		all.put(&spotRequest{
			base: b, persistent: i.spotPersistent, behavior: i.spotBehavior, instance: i, canceled: i.spotCanceled,
			launch: spotLaunch{ImageID: i.image.id, InstanceType: i.kind, KeyName: i.keyName, SubnetID: i.subnet.id},
		})
	}
	return all
}

type describeSpotInput struct {
	Filter                []filterParam
	SpotInstanceRequestID []string `ec2:"SpotInstanceRequestId"`
	pageParams
}

func (c *call) describeSpot(in *describeSpotInput) (*describeSpotOutput, *ec2query.Error) {
	items, next, err := find(c, c.spotTable(), query[*spotRequest]{
		kind: spotKind(), ids: in.SpotInstanceRequestID, filters: in.Filter, known: c.server.known.spotRequests, page: in.pageParams,
	})
	return &describeSpotOutput{spotRequestsOutput{ec2query.MapSet(items, c.spotXML)}, next}, err
}

type cancelSpotInput struct {
	SpotInstanceRequestID []string `ec2:"SpotInstanceRequestId,required"`
}

type canceledSpotXML struct {
	ID    string `xml:"spotInstanceRequestId"`
	State string `xml:"state"`
}

type cancelSpotOutput struct {
	Requests ec2query.Set[canceledSpotXML] `xml:"spotInstanceRequestSet"`
}

func (c *call) cancelSpot(in *cancelSpotInput) (*cancelSpotOutput, *ec2query.Error) {
	list, err := lookups(c, c.spotTable(), spotKind(), in.SpotInstanceRequestID)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &cancelSpotOutput{}
	for _, r := range list {
		r.canceled = true
		if r.instance != nil { // it keeps running
			r.instance.spotCanceled = true
		}
		out.Requests.Items = append(out.Requests.Items, canceledSpotXML{r.id, "cancelled"})
	}
	return out, nil
}
