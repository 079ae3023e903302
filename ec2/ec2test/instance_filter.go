package ec2test

import "strconv"

// instanceDetails returns the filters of DescribeInstances by what an instance shows,
// besides those of instanceFilters.
func instanceDetails() filters[*instance] {
	by := func(get func(*instanceXML) string) func(*call, *instance) []string {
		return shown((*call).instanceXML, func(x instanceXML) []string { return one(get(&x)) })
	}
	is := func(get func(*instanceXML) bool) func(*call, *instance) []string {
		return by(func(x *instanceXML) string { return strconv.FormatBool(get(x)) })
	}
	disks := func(get func(*instanceEBSXML) string) func(*call, *instance) []string {
		return shown((*call).instanceXML, func(x instanceXML) []string {
			out := make([]string, 0, len(x.Mappings.Items))
			for i := range x.Mappings.Items {
				out = append(out, get(&x.Mappings.Items[i].EBS))
			}
			return out
		})
	}
	f := filters[*instance]{
		"block-device-mapping.attach-time": disks(func(d *instanceEBSXML) string { return d.Attached }),
		"block-device-mapping.status":      disks(func(d *instanceEBSXML) string { return d.Status }),
		"block-device-mapping.delete-on-termination": disks(func(d *instanceEBSXML) string {
			return strconv.FormatBool(d.DeleteOnTermination)
		}),
		"boot-mode":       by(func(x *instanceXML) string { return x.BootMode }),
		"ebs-optimized":   is(func(x *instanceXML) bool { return x.EBSOptimized }),
		"ena-support":     is(func(x *instanceXML) bool { return x.ENA }),
		"hypervisor":      by(func(x *instanceXML) string { return x.Hypervisor }),
		"host-id":         by(func(x *instanceXML) string { return x.Placement.Host }),
		"ipv6-address":    by(func(x *instanceXML) string { return x.IPv6 }),
		"tpm-support":     by(func(x *instanceXML) string { return x.TPM }),
		"platform":        func(_ *call, i *instance) []string { return platformOf(i.image.platform) },
		"usage-operation": by(func(x *instanceXML) string { return x.Usage }),
		"reason":          by(func(x *instanceXML) string { return x.Reason }),
		"iam-instance-profile.id": by(func(x *instanceXML) string {
			if x.Profile == nil {
				return ""
			}
			return x.Profile.ID
		}),
		"state-reason-message": by(func(x *instanceXML) string {
			if x.StateReason == nil {
				return ""
			}
			return x.StateReason.Message
		}),
		"platform-details":        by(func(x *instanceXML) string { return x.Platform }),
		"monitoring-state":        by(func(x *instanceXML) string { return x.Monitoring.State }),
		"source-dest-check":       is(func(x *instanceXML) bool { return x.SourceDestCheck }),
		"enclave-options.enabled": is(func(x *instanceXML) bool { return x.Enclave.Enabled }),

		"metadata-options.state":                       by(func(x *instanceXML) string { return x.Metadata.State }),
		"metadata-options.http-endpoint":               by(func(x *instanceXML) string { return x.Metadata.Endpoint }),
		"metadata-options.http-protocol-ipv6":          by(func(x *instanceXML) string { return x.Metadata.IPv6 }),
		"metadata-options.instance-metadata-tags":      by(func(x *instanceXML) string { return x.Metadata.Tags }),
		"metadata-options.http-put-response-hop-limit": by(func(x *instanceXML) string { return strconv.Itoa(x.Metadata.Hops) }),
		"capacity-reservation-specification.capacity-reservation-preference": by(func(x *instanceXML) string {
			return x.Reservation.Preference
		}),
	}
	f.always("ip-name", "private-dns-name-options.hostname-type")
	f.always("default", "maintenance-options.auto-recovery")
	f.always("enabled", "metadata-options.http-protocol-ipv4")
	f.always("false", "hibernation-options.configured", "operator.managed")
	addInterfaces(f)
	return f.never("affinity", "capacity-reservation-id", "kernel-id", "ramdisk-id", "product-code", "product-code.type", "requester-id",
		"outpost-arn", "placement-partition-number", "operator.principal")
}

// addInterfaces adds the filters by what the network interfaces of an instance show.
func addInterfaces(f filters[*instance]) {
	each := func(get func(*instanceNICXML) string) func(*call, *instance) []string {
		return shown((*call).instanceXML, func(x instanceXML) []string {
			var out []string
			for i := range x.Interfaces.Items {
				if value := get(&x.Interfaces.Items[i]); value != "" {
					out = append(out, value)
				}
			}
			return out
		})
	}
	attached := func(get func(*instanceAttachmentXML) string) func(*call, *instance) []string {
		return each(func(n *instanceNICXML) string {
			if n.Attachment == nil {
				return ""
			}
			return get(n.Attachment)
		})
	}
	associated := func(get func(*instanceAssociationXML) string) func(*call, *instance) []string {
		return each(func(n *instanceNICXML) string {
			if n.Association == nil {
				return ""
			}
			return get(n.Association)
		})
	}
	const nic = "network-interface."
	address := each(func(n *instanceNICXML) string { return n.Address })
	name := each(func(n *instanceNICXML) string { return n.DNS })
	publicIP := associated(func(a *instanceAssociationXML) string { return a.PublicIP })
	publicName := associated(func(a *instanceAssociationXML) string { return a.PublicDNS })
	owner := associated(func(a *instanceAssociationXML) string { return a.Owner })
	for suffix, get := range map[string]func(*call, *instance) []string{
		"network-interface-id":         each(func(n *instanceNICXML) string { return n.ID }),
		"description":                  each(func(n *instanceNICXML) string { return n.Description }),
		"mac-address":                  each(func(n *instanceNICXML) string { return n.MAC }),
		"owner-id":                     each(func(n *instanceNICXML) string { return n.Owner }),
		"status":                       each(func(n *instanceNICXML) string { return n.Status }),
		"source-dest-check":            each(func(n *instanceNICXML) string { return strconv.FormatBool(n.SourceDestCheck) }),
		"private-ip-address":           address,
		"addresses.private-ip-address": address,
		"private-dns-name":             name,
		"addresses.private-dns-name":   name,
		"ipv6-addresses.ipv6-address": each(func(n *instanceNICXML) string {
			if len(n.IPv6.Items) == 0 {
				return ""
			}
			return n.IPv6.Items[0].Address
		}),
		"group-name": each(func(n *instanceNICXML) string {
			if len(n.Groups.Items) == 0 {
				return ""
			}
			return n.Groups.Items[0].Name
		}),
		"attachment.attachment-id":         attached(func(a *instanceAttachmentXML) string { return a.ID }),
		"attachment.attach-time":           attached(func(a *instanceAttachmentXML) string { return a.Attached }),
		"attachment.device-index":          attached(func(a *instanceAttachmentXML) string { return strconv.Itoa(a.DeviceIndex) }),
		"attachment.status":                attached(func(a *instanceAttachmentXML) string { return a.Status }),
		"attachment.delete-on-termination": attached(func(a *instanceAttachmentXML) string { return strconv.FormatBool(a.DeleteOnTermination) }),
		"attachment.instance-id":           func(_ *call, i *instance) []string { return one(i.id) },
		"attachment.instance-owner-id":     func(_ *call, i *instance) []string { return one(i.owner) },

		"association.public-ip": publicIP, "addresses.association.public-ip": publicIP,
		"association.public-dns-name": publicName, "addresses.association.public-dns-name": publicName,
		"association.ip-owner-id": owner, "addresses.association.ip-owner-id": owner,
	} {
		f[nic+suffix] = get
	}
	f.always("true", nic+"addresses.primary")
	f.always("false", nic+"requester-managed")
	f.never(nic+"requester-id", nic+"outpost-arn", nic+"association.carrier-ip", nic+"addresses.association.carrier-ip")
}
