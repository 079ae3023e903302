package sandbox_test

import "testing"

func TestFileCommands(t *testing.T) {
	t.Parallel()
	runCases(t, []scriptCase{
		{name: "mkdir", script: "mkdir -p /a/b/c && mkdir -m 700 /a/d && stat -c '%a %n' /a/b /a/d && mkdir /a", out: "755 /a/b\n700 /a/d\n", err: "cannot create directory '/a': File exists", status: 1},
		{name: "rm", script: "mkdir -p /a/b; touch /a/b/c; rm /a; rm -rf /a /nope; ls -d /a", err: "Is a directory", status: 2},
		{name: "rm as user", script: "rm -rf /etc/passwd", user: "ubuntu", err: "Permission denied", status: 1},
		{name: "rm in sticky tmp", script: "sudo touch /tmp/f; rm -f /tmp/f", user: "ubuntu", err: "Operation not permitted", status: 1},
		{name: "rmdir", script: "mkdir -p /a/b; rmdir /a; rmdir /a/b /a; rmdir /a", err: "Directory not empty", status: 1},
		{name: "mv", script: "echo 1 >a; mv a b; mkdir d; mv -f b d; cat d/b; mv -T d e; ls e; mv nope x", out: "1\nb\n", err: "cannot stat 'nope'", status: 1},
		{name: "cp", script: "mkdir -p s/t; echo 1 >s/t/f; ln -s t/f s/l; chmod 640 s/t/f; cp -a s d; readlink d/l; stat -c %a d/t/f; cp -r s/. e; cat e/l; cp s x", out: "t/f\n640\n1\n", err: "-r not specified", status: 1},
		{name: "cp preserves attributes", script: "touch -d @1000 f; chmod 4755 f; cp f g; cp -p f h; stat -c '%a %Y' h; stat -c %a g; cp --preserve=mode,timestamps f i; stat -c '%a %Y' i", out: "4755 1000\n755\n4755 1000\n"},
		{name: "ln", script: "touch f; ln f g; stat -c %h g; ln -s f l; ln -s x l; ln -sfn /etc l; readlink l; mkdir d; ln -sfT /var l; readlink l", out: "2\n/etc\n/var\n", err: "File exists"},
		{name: "ls", script: "cd /home; ls; mkdir x; touch x/.h x/f; ls x; ls -A x; ls -a1 x; touch -d @0 x; ls -ld x; ls nope", out: "ubuntu\nf\n.h\nf\n.\n..\n.h\nf\ndrwxr-xr-x 2 root root 4096 " + "Jan  1  1970 x\n", err: "cannot access 'nope'", status: 2},
		{name: "chmod", script: "touch f; for m in 755 u=rw,go= +x g+w,o-x a-x u+s 1777 ugo=r; do chmod $m f; stat -c %a f; done; chmod q f", out: "755\n600\n711\n730\n620\n4620\n1777\n444\n", err: "invalid mode", status: 1},
		{name: "chmod -R X", script: "mkdir -p d/e; touch d/f; chmod -R u=rwX,go= d; stat -c '%a %n' d d/e d/f", out: "700 d\n700 d/e\n600 d/f\n"},
		{name: "chown", script: "mkdir d; touch d/f; chown -R ubuntu:adm d; stat -c '%U:%G %u' d d/f; chown :root d; stat -c %G d; chgrp 27 d; stat -c %G d; chown nobody: d; stat -c %U:%G d; chown x d", out: "ubuntu:adm 1000\nubuntu:adm 1000\nroot\nsudo\nnobody:nogroup\n", err: "invalid user: 'x'", status: 1},
		{name: "chown as user", script: "touch f; chown root f", user: "ubuntu", err: "Operation not permitted", status: 1},
		{name: "touch and stat", script: "touch -d '2024-05-06 07:08:09' f; stat -c '%Y %s %F %y' f; touch -r f g; stat -c %Y g; touch -c h; ls h", out: "1714979289 0 regular empty file 2024-05-06 07:08:09.000000000 +0000\n1714979289\n", err: "cannot access", status: 2},
		{name: "readlink", script: "ln -s /etc/hostname l; readlink l; readlink -f l; readlink -f /l/x/y; readlink -m /n/../x/y; realpath /usr/../bin/x; readlink f", out: "/etc/hostname\n/etc/hostname\n/x/y\n/usr/bin/x\n", status: 1},
		{name: "basename and dirname", script: "basename /a/b.txt .txt; basename -a /x /y; dirname /a/b c /", out: "b\nx\ny\n/a\n.\n/\n"},
		{name: "mktemp", script: "f=$(mktemp); d=$(mktemp -d -p /var/tmp x.XXXX); stat -c %a $f $d; case $d in /var/tmp/x.????) echo ok;; esac; mktemp ab", out: "600\n700\nok\n", err: "too few X's", status: 1},
		{name: "install", script: "echo x >s; install -m 640 -o ubuntu -g adm s t; stat -c '%a %U:%G' t; install -d -m 700 d/e; stat -c %a d/e; install -D s a/b/c; stat -c %a a/b/c; echo y | install -m 600 /dev/stdin z; cat z", out: "640 ubuntu:adm\n700\n755\ny\n"},
		{name: "find", script: "mkdir -p r/a/b; touch r/a/x.txt r/y.txt; ln -s y.txt r/l; cd r; find . -type f; find . -name '*.txt' -maxdepth 1; find . -type f -exec echo f {} \\; ; find a -exec echo all {} +; find . -name '*.txt' -delete; find . ! -type d; find nope", out: "./a/x.txt\n./y.txt\n./y.txt\nf ./a/x.txt\nf ./y.txt\nall a a/b a/x.txt\n./l\n", err: "'nope': No such file", status: 1},
		{name: "find unsupported test", script: "find / -fstype ext4", err: "-fstype is not supported", status: 1},
		{name: "tar", script: "mkdir -p s/d; echo 1 >s/d/f; chmod 2750 s/d; ln -s d/f s/l; chown -R ubuntu:adm s/d; tar -czf a.tgz -C s .; tar tzf a.tgz; mkdir t; tar -xpf a.tgz -C t --numeric-owner; stat -c '%a %U:%G' t/d t/d/f; cat t/l", out: "./\n./d/\n./d/f\n./l\n2750 ubuntu:adm\n644 ubuntu:adm\n1\n"},
		{name: "tar pipe as user", script: "mkdir s; echo x >s/f; chmod 600 s/f; tar c s | (mkdir t; cd t; tar x --no-same-owner -f -); stat -c '%a %U' t/s/f; tar xf nope", user: "ubuntu", out: "600 ubuntu\n", err: "Cannot open", status: 2},
		{name: "tar of listed files", script: "mkdir s; echo 1 >s/a; echo 2 >'s/b c'; printf '%s\\n' ./a './b c' >l; tar -cf x.tar -C s -T l; tar tf x.tar; echo ./a | tar -xOf x.tar -T - 2>/dev/null || echo ./a | tar -xf x.tar -T -; ls; tar -cf e.tar -T /dev/null; tar tf e.tar; tar -cf y.tar -T none", out: "./a\n./b c\n1\nl\ns\nx.tar\n", err: "none", status: 2},
		{name: "tar strip-components", script: "cd /tmp; mkdir a; echo 1 >a/f; tar -cf x.tar a; mkdir -p in/deep; tar -C in/deep --strip-components=1 -xf x.tar; find in -type f", out: "in/deep/f\n"},
		{name: "gzip", script: "echo data >f; gzip f; ls; zcat f.gz; gunzip f.gz; cat f; echo y | gzip -c | gzip -dc; gunzip f", out: "f.gz\ndata\ndata\ny\n", err: "unknown suffix", status: 1},
		{name: "dd", script: "printf 0123456789 >f; dd if=f bs=2 skip=1 count=2 status=none; echo; printf XX | dd of=f bs=1 seek=3 conv=notrunc status=none; cat f; echo; dd if=/dev/zero of=z bs=1k count=3 2>/dev/null; stat -c %s z; dd conv=ascii", out: "2345\n012XX56789\n3072\n", err: "not supported", status: 2},
		{name: "truncate", script: "echo abc >f; truncate -s 2 f; cat f; truncate -s 1M g; stat -c %s g", out: "ab1048576\n"},
		{name: "du and df", script: "mkdir d; truncate -s 2048 d/f; du -sb d/f; df -h | wc -l; sync", out: "2048\td/f\n2\n"},
	})
}

func TestTextCommands(t *testing.T) {
	t.Parallel()
	runCases(t, []scriptCase{
		{name: "cat", script: "cat - /etc/hostname /nope", stdin: "in\n", out: "in\nweb-1\n", err: "/nope: No such file", status: 1},
		{name: "head and tail", script: "seq 9 >f; head -2 f; tail -n 2 f; tail -n +8 f; head -c 3 f; head -n -7 f; tail -c 2 f", out: "1\n2\n8\n9\n8\n9\n1\n21\n2\n9\n"},
		{name: "head does not read ahead", script: "head -n 1; cat", stdin: "a\nb\n", out: "a\nb\n"},
		{name: "wc", script: "printf 'a b\\nc' >f; wc -l f; wc f; wc -c <f", out: "1 f\n1 3 5 f\n5\n"},
		{name: "sort", script: "printf '10 b\\n9 a\\n9 a\\n' >f; sort f; sort -n f; sort -rnu f; sort -k2 f; printf 'v1.10\\nv1.9\\n' | sort -V", out: "10 b\n9 a\n9 a\n9 a\n9 a\n10 b\n10 b\n9 a\n9 a\n9 a\n10 b\nv1.9\nv1.10\n"},
		{name: "uniq", script: "printf 'a\\na\\nb\\n' | uniq -c; printf 'a\\na\\nb\\n' | uniq -d", out: "      2 a\n      1 b\na\n"},
		{name: "cut", script: "echo a:b:c | cut -d: -f2-; echo a:b:c | cut -d : -f1,3; echo hello | cut -c2-3", out: "b:c\na:c\nel\n"},
		{name: "tr", script: "echo Hello | tr a-z A-Z; echo 'a  b' | tr -s ' '; echo a1b2 | tr -d 0-9; echo 'a/b' | tr / '\\n'; echo ab1 | tr -cd '[:alpha:]'", out: "HELLO\na b\nab\na\nb\nab"},
		{name: "grep", script: "printf 'Foo\\nbar\\nfoo.x\\n' >f; grep foo f; grep -i foo f; grep -v foo f; grep -c o f; grep -n bar f; grep -F .x f; grep -E 'b(a|x)r$' f; grep 'o\\+' f | wc -l; grep -o 'o*\\.' f; grep -q nope f", out: "foo.x\nFoo\nfoo.x\nFoo\nbar\n2\n2:bar\nfoo.x\nbar\n2\noo.\n", status: 1},
		{name: "grep -r", script: "mkdir d; echo x >d/a; echo y >d/b; grep -r x d; grep -rl y d; grep -h x d/a d/b; grep x nope", out: "d/a:x\nd/b\nx\n", err: "nope: No such file", status: 2},
		{name: "grep unsupported flag", script: "grep -T x f", err: "-T' is not supported", status: 2},
		{name: "sed", script: "printf 'a b\\nc d\\ne f\\n' >f; sed 's/ /-/' f; sed -n 2p f; sed '1d;$d' f; sed -n '/c/,$p' f; sed -E 's/(.) (.)/\\2\\1/;3q' f; sed 's|a|/x/|;s/b/[&]/' f | head -1; sed -i 's/a/A/' f; cat f", out: "a-b\nc-d\ne-f\nc d\nc d\nc d\ne f\nba\ndc\nfe\n/x/ [b]\nA b\nc d\ne f\n"},
		{name: "sed in place", script: "printf '#Port 22\\nX yes\\n' >c; chmod 600 c; sed -i.bak -e 's/^#\\?Port .*/Port 2222/' -e '/^X/s/yes/no/' -e '$a\\Z 1' c; cat c c.bak; stat -c %a c; sed 'y/ab/ba/;/x/!d' c", out: "Port 2222\nX no\nZ 1\n#Port 22\nX yes\n600\n"},
		{name: "sed unsupported command", script: "sed 'e date' /etc/hostname", err: "command 'e' is not supported", status: 1},
		{name: "tee", script: "echo a | tee f | tee -a f g; cat f g; echo x | tee /proc/nope/f", out: "a\na\na\na\nx\n", err: "No such file", status: 1},
		{name: "tee as root", script: "echo a | sudo tee /etc/f >/dev/null; cat /etc/f; echo a | tee /etc/f", user: "ubuntu", out: "a\na\n", err: "Permission denied", status: 1},
		{name: "xargs", script: "printf 'a b\\nc' | xargs echo; printf 'a\\0b c\\0' | xargs -0 -n1 echo; seq 4 | xargs -n 2; printf 'p\\nq\\n' | xargs -I{} echo [{}]; printf '' | xargs -r echo no; echo x | xargs false; echo $?; echo x | xargs nope", out: "a b c\na\nb c\n1 2\n3 4\n[p]\n[q]\n123\n", err: "nope", status: 127},
		{
			name: "openssl", script: "printf abc >a; openssl dgst -sha256 a; openssl dgst -sha256 -r a; openssl sha1 <a; openssl md5 -r <a; openssl sha256 -binary a | wc -c; openssl rand -hex 4 | wc -c; seq 30 >b; openssl base64 -in b; openssl base64 -A <a; openssl base64 <b | openssl base64 -d | cmp - b; openssl dgst -x a",
			out: "SHA2-256(a)= ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad *a\nSHA1(stdin)= a9993e364706816aba3e25717850c26c9cd0d89d\n900150983cd24fb0d6963f7d28e17f72 *stdin\n32\n9\n" +
				"MQoyCjMKNAo1CjYKNwo4CjkKMTAKMTEKMTIKMTMKMTQKMTUKMTYKMTcKMTgKMTkK\nMjAKMjEKMjIKMjMKMjQKMjUKMjYKMjcKMjgKMjkKMzAK\nYWJj", err: "Unknown option or message digest: x", status: 1,
		},
		{name: "openssl without keys only", script: "openssl req -x509", err: "openssl: req is not supported", status: 1},
		{name: "sha256sum and md5sum", script: "echo x >f; sha256sum f >s; cat s; sha256sum -c s; md5sum <f; echo y >f; sha256sum -c s", out: "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac  f\nf: OK\n401b30e3b8b5d629635a5c613cdb7919  -\nf: FAILED\n", err: "did NOT match", status: 1},
		{name: "cmp and diff", script: "echo a >f; echo a >g; cmp f g && diff f g; echo b >g; cmp -s f g || diff -q f g; diff f g", out: "Files f and g differ\n1c1\n< a\n---\n> b\n", status: 1},
		{name: "base64", script: "printf hello | base64; echo aGVsbG8= | base64 -d; printf %0100d 0 | base64 -w0 | wc -c", out: "aGVsbG8=\nhello136\n"},
		{name: "yes into head", script: "yes | head -n 2", out: "y\ny\n"},
		{name: "seq", script: "seq 3; seq 2 2 6; seq -s, 3", out: "1\n2\n3\n2\n4\n6\n1,2,3\n"},
		{name: "large pipe", script: "head -c 300000 /dev/zero | cat | wc -c; head -c 300000 /dev/zero >f; while read -r x; do :; done <f; cat f f | head -c 1 | wc -c", out: "300000\n1\n"},
	})
}

func TestSystemCommands(t *testing.T) {
	t.Parallel()
	runCases(t, []scriptCase{
		{name: "id", script: "id; id -un; id -gn; id -G; whoami; id nobody", user: "ubuntu", out: "uid=1000(ubuntu) gid=1000(ubuntu) groups=1000(ubuntu),4(adm),24(cdrom),27(sudo),30(dip),110(lxd)\nubuntu\nubuntu\n1000 4 24 27 30 110\nubuntu\nuid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n"},
		{name: "uname", script: "uname; uname -srm; nproc; getconf PAGE_SIZE; . /etc/os-release; echo $ID $VERSION_ID", out: "Linux\nLinux 6.8.0-1021-aws x86_64\n2\n4096\nubuntu 24.04\n"},
		{name: "date", script: "date -u -d @0 +%FT%TZ; date -d '2024-02-03 04:05:06' '+%s %-d %a %j'; date +%Q", out: "1970-01-01T00:00:00Z\n1706933106 3 Sat 034\n%Q\n"},
		{name: "getent", script: "getent passwd ubuntu; getent group adm; getent passwd nope", out: "ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\nadm:x:4:ubuntu\n", status: 2},
		{name: "useradd", script: "groupadd -r app; useradd -m -r -s /bin/bash -g app -G adm svc; id svc; stat -c '%U %a' /home/svc; sudo -u svc sh -c 'whoami; pwd; echo $HOME'; su - svc -c 'echo $USER; pwd'; useradd svc; usermod -aG sudo svc; id -nG svc", out: "uid=900(svc) gid=900(app) groups=900(app),4(adm)\nsvc 750\nsvc\n/root\n/home/svc\nsvc\n/home/svc\napp adm sudo\n", err: "already exists"},
		{name: "sudo", script: "sudo -n id -u; sudo A=1 sh -c 'echo $A $SUDO_USER $HOME'; B=2 sudo -E sh -c 'echo $B'; C=3 sudo sh -c 'echo [$C]'; sudo -u nobody -H -- id -un; sudo -n true; sudo echo hi; sudo nope", user: "ubuntu", out: "0\n1 ubuntu /root\n2\n[]\nnobody\nhi\n", err: "sudo: nope: command not found", status: 1},
		{name: "sudo not permitted", script: "sudo -u nobody sudo -n true", err: "not in the sudoers file", status: 1},
		{name: "timeout", script: "timeout 0.01 sleep 100; echo $?; timeout 5 echo in; timeout -s KILL 0.01 sleep 9; echo $?; timeout 1 nope", out: "124\nin\n137\n", err: "nope", status: 127},
		{name: "nohup and setsid", script: "nohup echo a; setsid echo b; nice -n 5 echo c; env -u HOME sh -c 'echo [$HOME]'", out: "a\nb\nc\n[]\n"},
		{name: "kill by signal name", script: "sleep 100 & kill -s KILL $!; wait $!; echo $?; kill -l x", out: "137\n", err: "invalid signal", status: 1},
		{name: "which", script: "which tar nope; which -a sh", out: "/usr/bin/tar\n/usr/bin/sh\n/bin/sh\n"},
		{name: "systemctl", script: "systemctl is-system-running; systemctl isolate rescue", out: "running\n", err: "register a func for systemctl", status: 1},
		{name: "hostname", script: "hostname; hostname db-1.example; hostname; hostname -s", out: "web-1\ndb-1.example\ndb-1\n"},
		{name: "unknown flag", script: "mkdir --frob x", err: "mkdir: option '--frob' is not supported by this machine", status: 2},
		{name: "boot id", script: "wc -c </proc/sys/kernel/random/boot_id; wc -c </etc/machine-id", out: "37\n33\n"},
		{name: "cloud-init", script: "cloud-init status --wait; cloud-init frob", out: "status: done\n", err: "only status", status: 2},
		{name: "ssh-keygen", script: "ssh-keygen -q -t ed25519 -N '' -f k && stat -c %a k k.pub; ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -c1-11", out: "600\n644\n256 SHA256:\n"},
	})
}

func TestAdminCommands(t *testing.T) {
	t.Parallel()
	runCases(t, []scriptCase{
		{name: "sysctl", script: "sysctl -w vm.swappiness=10; echo net.core.somaxconn = 1024 >/etc/sysctl.d/x.conf; sysctl --system; sysctl -n net.core.somaxconn; cat /proc/sys/vm/swappiness; sysctl no.such", out: "vm.swappiness = 10\nnet.core.somaxconn = 1024\n1024\n10\n", err: "cannot stat", status: 1},
		{name: "sysctl as user", script: "sysctl -w vm.swappiness=10", user: "ubuntu", err: "permission denied", status: 1},
		{name: "crontab", script: "crontab -l; echo '0 1 * * * x' | crontab -; crontab -l; crontab -r; crontab -l", user: "ubuntu", out: "0 1 * * * x\n", err: "no crontab for ubuntu", status: 1},
		{name: "accounts", script: "adduser --system --group --no-create-home --quiet svc; id -un svc; echo svc:secret | chpasswd; grep -c '^svc:[$]6' /etc/shadow; adduser ubuntu www-data; id -nG ubuntu; userdel svc; id svc", out: "svc\n1\nubuntu adm cdrom sudo dip www-data lxd\n", err: "no such user", status: 1},
		{name: "hostnamectl and timedatectl", script: "hostnamectl set-hostname db-2; hostname; cat /etc/hostname; timedatectl set-timezone Europe/Berlin; cat /etc/timezone; readlink /etc/localtime", out: "db-2\ndb-2\nEurope/Berlin\n/usr/share/zoneinfo/Europe/Berlin\n"},
		{name: "visudo", script: "echo 'app ALL=(ALL) NOPASSWD:ALL' >s; visudo -cf s; echo nonsense >s; visudo -cqf s", out: "s: parsed OK\n", err: "syntax error", status: 1},
		{name: "pgrep and pkill", script: "sleep 500 & sleep 0.01; pgrep -f 'sleep 5'00 >/dev/null && echo found; pkill -f 'sleep 500$'; wait $!; echo $?; pgrep -x nothing", out: "found\n143\n", status: 1},
		{name: "root only", script: "ldconfig && echo ok; modprobe overlay; mount /dev/x /mnt", user: "ubuntu", out: "ok\n", err: "only root", status: 1},
		{name: "mount", script: "mount -o remount,rw / && mount /dev/xvdb /mnt", err: "special device /dev/xvdb does not exist", status: 32},
		{name: "jq", script: `echo '{"a":{"b":[1,2]},"n":"x y"}' >j; jq .a.b j; jq -c .a j; jq -r .n j; jq -r --arg k n '.[$k]' j; jq -e .zz j; echo $?; echo '[1,2]' | jq 'add'; jq -n '{x:1}' -c; jq '.[' j`, out: "[\n  1,\n  2\n]\n{\"b\":[1,2]}\nx y\nx y\nnull\n1\n3\n{\"x\":1}\n", err: "jq: error", status: 3},
		{name: "awk isolation", script: `echo guest >/only-here; awk 'BEGIN { while ((getline l < "/only-here") > 0) print l; print "x" > "/f"; close("/f"); system("cat /f") }'; cat /f`, out: "guest\nx\nx\n"},
		{name: "diff", script: "seq 9 >a; sed 's/5/five/' a >b; diff -u --label a --label b a b; mkdir x y; echo 1 >x/f; echo 2 >x/g; cp x/f y/; diff -r x y", out: "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\nOnly in x: g\n", status: 1},
		{name: "envsubst", script: `echo '$A ${B} $C $ 5$ ${D' | A=1 B=2 envsubst; echo '$A $B' | A=x envsubst '$A'`, out: "1 2  $ 5$ ${D\nx ${B}\n"},
		{name: "file and uuidgen", script: "echo '#!/bin/bash' >s; file s /etc; uuidgen | grep -cE '^[0-9a-f]{8}-'", out: "s:    Bourne-Again shell script, ASCII text executable\n/etc: directory\n1\n"},
		{name: "free and uptime", script: "free -m | awk '/^Mem:/ {print $2}'; uptime -p; journalctl -u x", out: "3900\nup 1 minute\n-- No entries --\n"},
	})
}
