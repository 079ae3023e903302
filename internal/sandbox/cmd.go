package sandbox

// builtin returns the built-in command with the name, or nil.
func builtin(name string) Command {
	switch name {
	case "sh", "dash", "bash":
		return sh
	case "printf":
		return printf
	case "[", "echo", "false", "pwd", "test", "true":
		return shellBuiltin
	case "kill":
		return kill
	case "ps":
		return ps
	case "env":
		return env
	case "printenv":
		return printenv
	case "nohup":
		return nohup
	case "setsid":
		return setsid
	case "timeout":
		return timeout
	case "nice", "ionice":
		return nice
	case "sudo":
		return sudo
	case "su":
		return su
	case "sleep":
		return sleep
	case "date":
		return date
	case "shutdown":
		return shutdown
	case "poweroff", "halt":
		return powerOff
	case "reboot":
		return reboot
	case "systemctl":
		return systemctl
	case "service":
		return service
	case "chkconfig":
		return chkconfig
	case "curl":
		return curl
	case "wget":
		return wget
	case "cloud-init":
		return cloudInit
	}
	if c := fileBuiltin(name); c != nil {
		return c
	}
	if c := textBuiltin(name); c != nil {
		return c
	}
	return systemBuiltin(name)
}

// fileBuiltin returns commands that change or show files.
func fileBuiltin(name string) Command {
	switch name {
	case "mkdir":
		return mkdir
	case "rm":
		return rm
	case "rmdir":
		return rmdir
	case "mv":
		return mv
	case "cp":
		return cp
	case "install":
		return install
	case "ln":
		return ln
	case "ls":
		return ls
	case "touch":
		return touch
	case "truncate":
		return truncate
	case "chmod":
		return chmod
	case "chown":
		return chown
	case "chgrp":
		return chgrp
	case "stat":
		return stat
	case "readlink":
		return readlink
	case "realpath":
		return realpath
	case "basename":
		return basename
	case "dirname":
		return dirname
	case "mktemp":
		return mktemp
	case "find":
		return find
	case "du":
		return du
	case "df":
		return df
	case "tar":
		return tarCommand
	case "gzip", "gunzip", "zcat":
		return gzipCommand
	case "dd":
		return dd
	case "sync", "fsync":
		return syncCommand
	case "scp":
		return scp
	case "patch":
		return patch
	case "flock":
		return flock
	}
	return nil
}

// textBuiltin returns commands that process text.
func textBuiltin(name string) Command {
	switch name {
	case "cat":
		return cat
	case "head":
		return head
	case "tail":
		return tail
	case "wc":
		return wc
	case "sort":
		return sortCommand
	case "uniq":
		return uniq
	case "cut":
		return cut
	case "tr":
		return tr
	case "grep", "egrep", "fgrep":
		return grep
	case "sed":
		return sed
	case "tee":
		return tee
	case "xargs":
		return xargs
	case "b2sum", "sha256sum", "sha224sum", "sha384sum", "sha1sum", "sha512sum", "md5sum":
		return sum
	case "cmp":
		return cmp
	case "diff":
		return diff
	case "openssl":
		return openssl
	case "base64":
		return base64Command
	case "seq":
		return seq
	case "yes":
		return yes
	case "awk", "gawk", "mawk":
		return awk
	case "jq":
		return jq
	}
	return filterBuiltin(name)
}

// filterBuiltin returns the smaller commands that process text.
func filterBuiltin(name string) Command {
	switch name {
	case "tac":
		return tac
	case "rev":
		return rev
	case "nl":
		return nl
	case "fold":
		return fold
	case "paste":
		return paste
	case "comm":
		return comm
	case "join":
		return join
	case "column":
		return column
	case "shuf":
		return shuf
	case "split":
		return split
	case "od":
		return od
	case "xxd":
		return xxd
	case "envsubst":
		return envsubst
	case "expr":
		return expr
	}
	if c := encodeBuiltin(name); c != nil {
		return c
	}
	return smallBuiltin(name)
}

// adminBuiltin returns commands that administer the machine.
func adminBuiltin(name string) Command {
	switch name {
	case "uptime":
		return uptime
	case "free":
		return free
	case "mount":
		return mount
	case "sysctl":
		return sysctl
	case "hostnamectl":
		return hostnamectl
	case "timedatectl":
		return timedatectl
	case "crontab":
		return crontab
	case "pgrep", "pkill":
		return pgrep
	case "chpasswd":
		return chpasswd
	case "userdel", "groupdel", "deluser", "delgroup":
		return userdel
	case "adduser", "addgroup":
		return adduser
	case "visudo":
		return visudo
	case "uuidgen":
		return uuidgen
	case "file":
		return fileCommand
	case "journalctl":
		return journalctl
	case "ss", "netstat":
		return ss
	case "lsblk":
		return lsblk
	case "blkid":
		return blkid
	case "mkfs", "mkfs.ext4", "mkfs.ext3", "mkfs.ext2", "mkfs.xfs", "mkfs.btrfs", "mkfs.vfat", "mke2fs":
		return mkfs
	case "umount":
		return umount
	case "findmnt":
		return findmnt
	case "mountpoint":
		return mountpoint
	case "chroot":
		return chroot
	case "parted", "sfdisk", "sgdisk":
		return partition
	case "partprobe", "resize2fs", "xfs_growfs", "growpart", "blockdev", "e2fsck", "fsck", "wipefs", "tune2fs", "xfs_admin":
		return onDisk
	case "locale":
		return locale
	case "locale-gen":
		return localeGen
	case "update-locale":
		return updateLocale
	case "localectl":
		return localectl
	case "ip", "dmesg":
		return show
	case "ldconfig", "update-ca-certificates", "update-alternatives",
		"stty", "udevadm", "restorecon", "setenforce", "fstrim":
		return recorded
	case "swapon", "swapoff", "mkswap", "modprobe", "ifconfig", "iptables", "ufw", "update-grub", "update-initramfs", "depmod",
		"augenrules", "auditctl", "loginctl", "resolvectl":
		return rootOnly
	}
	return nil
}

// systemBuiltin returns commands that show or change settings of the machine.
func systemBuiltin(name string) Command {
	switch name {
	case "id":
		return id
	case "whoami":
		return whoami
	case "hostname":
		return hostname
	case "uname":
		return uname
	case "arch":
		return arch
	case "lsb_release":
		return lsbRelease
	case "nproc":
		return nproc
	case "getconf":
		return getconf
	case "getent":
		return getent
	case "useradd":
		return useradd
	case "groupadd":
		return groupadd
	case "usermod":
		return usermod
	case "passwd":
		return passwd
	case "ssh-keygen":
		return sshKeygen
	case "tty":
		return tty
	case "which":
		return which
	case "logger", "wall":
		return logger
	}
	return adminBuiltin(name)
}
