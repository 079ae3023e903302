package interop_test

// someRole is a role that can be assumed.
const someRole = "arn:aws:iam::210987654321:role/images"

// services is what a bake uses besides EC2: parameters, roles and identities.
func services() []step {
	const (
		put     = "ssm put-parameter --name /images/web "
		trust   = `{"Version":"2012-10-17","Statement":[]}`
		profile = "iam get-instance-profile --instance-profile-name bake"
		add     = "iam add-role-to-instance-profile --instance-profile-name bake --role-name "
	)
	return []step{
		does("put", put+"--value ami-1 --type String"),
		does("put again", put+"--value ami-2 --type String"),
		does("overwrite", put+"--value ami-2 --type String --overwrite"),
		does("get", "ssm get-parameter --name /images/web"),
		does("get a version", "ssm get-parameter --name /images/web:1 --query Parameter.Value"),
		does("get nothing", "ssm get-parameter --name /images/none"),
		does("get several", "ssm get-parameters --names /images/web /images/none"),
		does("by path", "ssm get-parameters-by-path --path /images --query Parameters[].Name"),
		does("parameters", "ssm describe-parameters --query Parameters[].[Name,Type,Version,DataType]"),
		does("no type", "ssm put-parameter --name /images/none --value x"),
		does("bad name", "ssm put-parameter --name /aws/none --value x --type String"),
		does("delete", "ssm delete-parameter --name /images/web"),
		does("delete again", "ssm delete-parameter --name /images/web"),

		does("no key", "kms describe-key --key-id alias/none"),
		does("key of EBS", "kms describe-key --key-id alias/aws/ebs --query KeyMetadata.[Enabled,KeyState,KeyUsage,KeySpec,KeyManager]"),

		does("identity", "sts get-caller-identity --query Account"),
		does("assume", "sts assume-role --role-arn "+someRole+" --role-session-name bake --query AssumedRoleUser.Arn"),
		does("assume nothing", "sts assume-role --role-arn arn:aws:iam::2:role/images-of-none --role-session-name bake"),

		{name: "role", args: []string{
			"iam", "create-role", "--role-name", "bake", "--assume-role-policy-document", trust, "--query", "Role.[RoleName,Arn,Path]",
		}},
		{name: "role again", args: []string{"iam", "create-role", "--role-name", "bake", "--assume-role-policy-document", trust}},
		{name: "malformed role", args: []string{"iam", "create-role", "--role-name", "other", "--assume-role-policy-document", "none"}},
		{name: "policy", args: []string{"iam", "put-role-policy", "--role-name", "bake", "--policy-name", "bake", "--policy-document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`}},
		{name: "policy of nothing", args: []string{"iam", "put-role-policy", "--role-name", "none", "--policy-name", "bake", "--policy-document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`}},
		does("profile", "iam create-instance-profile --instance-profile-name bake --query InstanceProfile.[InstanceProfileName,Arn,Roles]"),
		does("profile again", "iam create-instance-profile --instance-profile-name bake"),
		does("add", add+"bake"),
		does("add again", add+"bake"),
		does("add nothing", add+"none"),
		does("got profile", profile+" --query InstanceProfile.[InstanceProfileName,Arn,Roles[].RoleName]"),
		does("no profile", "iam get-instance-profile --instance-profile-name none"),
		does("delete profile in use", "iam delete-instance-profile --instance-profile-name bake"),
		does("delete role in use", "iam delete-role --role-name bake"),
		does("remove", "iam remove-role-from-instance-profile --instance-profile-name bake --role-name bake"),
		does("remove again", "iam remove-role-from-instance-profile --instance-profile-name bake --role-name bake"),
		does("delete role with policy", "iam delete-role --role-name bake"),
		does("delete policy", "iam delete-role-policy --role-name bake --policy-name bake"),
		does("delete policy again", "iam delete-role-policy --role-name bake --policy-name bake"),
		does("delete role", "iam delete-role --role-name bake"),
		does("delete role again", "iam delete-role --role-name bake"),
		does("delete profile", "iam delete-instance-profile --instance-profile-name bake"),
		does("delete profile again", "iam delete-instance-profile --instance-profile-name bake"),
	}
}
