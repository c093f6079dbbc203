# Make the cluster once, as the official image does; then serve.
set -e
as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups"
mkdir -p "$PGDATA" /run/postgresql
chown -R postgres "$PGDATA" /run/postgresql
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  install -o postgres -m 600 /dev/null /tmp/password
  echo "$POSTGRES_PASSWORD" >/tmp/password
  $as_postgres initdb -U "$POSTGRES_USER" --pwfile=/tmp/password -A scram-sha-256 --auth-local=trust -E UTF8 --locale=C.UTF-8
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  $as_postgres pg_ctl -o "-c listen_addresses=''" -w start
  $as_postgres createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
  $as_postgres pg_ctl -w stop
fi
exec $as_postgres postgres -c "listen_addresses=*"
