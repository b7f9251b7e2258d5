"""Alembic's entry: runs the revisions on the connection that hub.schema.database hands over."""

from alembic import context

from hub.schema.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
