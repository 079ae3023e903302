package interop_test

// someRole is the ARN of a role that can be assumed.
const someRole = "arn:aws:iam::210987654321:role/images"

// services covers the other services that a bake uses: Systems Manager, KMS, STS
// and IAM.
func services() []step {
	const (
		put      = "ssm put-parameter --name /images/web "
		managed  = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
		ec2Trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

		trust   = `{"Version":"2012-10-17","Statement":[]}`
		profile = "iam get-instance-profile --instance-profile-name bake"
		add     = "iam add-role-to-instance-profile --instance-profile-name bake --role-name "
	)
	return []step{
		run("put", put+"--value ami-1 --type String"),
		run("put again", put+"--value ami-2 --type String"),
		run("overwrite", put+"--value ami-2 --type String --overwrite"),
		run("get", "ssm get-parameter --name /images/web"),
		run("get a version", "ssm get-parameter --name /images/web:1 --query Parameter.Value"),
		run("get nothing", "ssm get-parameter --name /images/none"),
		run("get several", "ssm get-parameters --names /images/web /images/none"),
		run("by path", "ssm get-parameters-by-path --path /images --query Parameters[].Name"),
		run("parameters", "ssm describe-parameters --query Parameters[].[Name,Type,Version,DataType]"),
		run("no type", "ssm put-parameter --name /images/none --value x"),
		run("bad name", "ssm put-parameter --name /aws/none --value x --type String"),
		run("delete", "ssm delete-parameter --name /images/web"),
		run("delete again", "ssm delete-parameter --name /images/web"),

		run("no key", "kms describe-key --key-id alias/none"),
		run("key of EBS", "kms describe-key --key-id alias/aws/ebs --query KeyMetadata.[Enabled,KeyState,KeyUsage,KeySpec,KeyManager]"),

		run("identity", "sts get-caller-identity --query Account"),
		run("assume", "sts assume-role --role-arn "+someRole+" --role-session-name bake --query AssumedRoleUser.Arn"),
		run("assume nothing", "sts assume-role --role-arn arn:aws:iam::2:role/images-of-none --role-session-name bake"),

		{name: "role", args: []string{
			"iam", "create-role", "--role-name", "bake", "--assume-role-policy-document", trust, "--query", "Role.[RoleName,Arn,Path]",
		}},
		{name: "role again", args: []string{"iam", "create-role", "--role-name", "bake", "--assume-role-policy-document", trust}},
		{name: "malformed role", args: []string{"iam", "create-role", "--role-name", "other", "--assume-role-policy-document", "none"}},
		{name: "policy", args: []string{"iam", "put-role-policy", "--role-name", "bake", "--policy-name", "bake", "--policy-document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`}},
		{name: "policy of nothing", args: []string{"iam", "put-role-policy", "--role-name", "none", "--policy-name", "bake", "--policy-document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`}},
		run("policy got", "iam get-role-policy --role-name bake --policy-name bake"),
		run("no such policy", "iam get-role-policy --role-name bake --policy-name none"),
		run("policies", "iam list-role-policies --role-name bake"),
		run("attach", "iam attach-role-policy --role-name bake --policy-arn "+managed),
		run("attach again", "iam attach-role-policy --role-name bake --policy-arn "+managed),
		run("attach to nothing", "iam attach-role-policy --role-name none --policy-arn "+managed),
		run("attached", "iam list-attached-role-policies --role-name bake --query AttachedPolicies"),
		run("delete role with attached policy", "iam delete-role --role-name bake"),
		run("detach", "iam detach-role-policy --role-name bake --policy-arn "+managed),
		run("detach again", "iam detach-role-policy --role-name bake --policy-arn "+managed),
		{name: "trust", args: []string{"iam", "update-assume-role-policy", "--role-name", "bake", "--policy-document", ec2Trust}},
		run("trusted", "iam get-role --role-name bake --query Role.[AssumeRolePolicyDocument,MaxSessionDuration,Path,Description]"),
		{name: "role with a path", args: []string{
			"iam", "create-role", "--role-name", "pathed", "--path", "/bakes/", "--description", "bakes", "--assume-role-policy-document", ec2Trust,
			"--query", "Role.[Path,Arn,AssumeRolePolicyDocument]",
		}},
		run("roles of a path", "iam list-roles --path-prefix /bakes/ --query Roles[].[RoleName,Description]"),
		run("delete role of a path", "iam delete-role --role-name pathed"),
		run("profile", "iam create-instance-profile --instance-profile-name bake --query InstanceProfile.[InstanceProfileName,Arn,Roles]"),
		run("profile again", "iam create-instance-profile --instance-profile-name bake"),
		run("add", add+"bake"),
		run("add again", add+"bake"),
		run("add nothing", add+"none"),
		run("got profile", profile+" --query InstanceProfile.[InstanceProfileName,Arn,Roles[].RoleName]"),
		run("profiles of a role", "iam list-instance-profiles-for-role --role-name bake --query InstanceProfiles[].InstanceProfileName"),
		run("no profile", "iam get-instance-profile --instance-profile-name none"),
		run("delete profile in use", "iam delete-instance-profile --instance-profile-name bake"),
		run("delete role in use", "iam delete-role --role-name bake"),
		run("remove", "iam remove-role-from-instance-profile --instance-profile-name bake --role-name bake"),
		run("remove again", "iam remove-role-from-instance-profile --instance-profile-name bake --role-name bake"),
		run("delete role with policy", "iam delete-role --role-name bake"),
		run("delete policy", "iam delete-role-policy --role-name bake --policy-name bake"),
		run("delete policy again", "iam delete-role-policy --role-name bake --policy-name bake"),
		run("delete role", "iam delete-role --role-name bake"),
		run("delete role again", "iam delete-role --role-name bake"),
		run("delete profile", "iam delete-instance-profile --instance-profile-name bake"),
		run("delete profile again", "iam delete-instance-profile --instance-profile-name bake"),
	}
}
